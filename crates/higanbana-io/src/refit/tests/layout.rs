//! What of two checkpoints goes into the file, under which names, and what does not.

use half::f16;

use super::*;

const RANK: Budget = Budget::Rank(2);

/// Everything that a layer can have, and what is no layer's.
const TENSORS: [(&str, &[usize]); 9] = [
    ("conv.bias", &[6]),
    ("conv.weight", &[6, 4, 3, 3]),
    ("lin.bias", &[6]),
    ("lin.weight", &[6, 4]),
    ("norm.bias", &[6]),
    ("norm.weight", &[6]),
    ("point.weight", &[6, 4, 1, 1]),
    ("scale", &[1]),
    ("token_embedding.weight", &[9, 4]),
];

fn update(tensor: usize) -> TensorData {
    noise(TENSORS[tensor].1, 100 + tensor as u64)
}

/// A model, and its copy with every tensor moved.
fn models(files: &Files) -> [PathBuf; 2] {
    let w0 = |i: usize| noise(TENSORS[i].1, i as u64);
    let base: Vec<_> = (0..9).map(|i| (TENSORS[i].0, w0(i))).collect();
    let tuned: Vec<_> = (0..9).map(|i| (TENSORS[i].0, plus(&w0(i), &update(i)))).collect();
    [files.write("base", &base), files.write("tuned", &tuned)]
}

fn left_out(found: &Extracted) -> Vec<&str> {
    let mut keys: Vec<_> = found.left_out.iter().map(|left| left.key.as_str()).collect();
    keys.sort();
    keys
}

fn adapted(found: &Extracted) -> Vec<String> {
    found.layers.iter().map(|layer| format!("{} {}", layer.module, layer.parameter)).collect()
}

#[test]
fn every_difference_is_in_the_file_or_said_to_be_left_out() {
    let files = Files::new();
    let [base, tuned] = models(&files);
    let run = |algorithm: &str| {
        extract(algorithm, RANK, DType::F64, &base, &tuned, &files.path(algorithm)).unwrap()
    };
    let lora = run("lora");
    assert_eq!(adapted(&lora), ["lycoris_lin weight", "lycoris_point weight"]);
    let rest = ["norm.bias", "norm.weight", "scale", "token_embedding.weight"];
    let left = [&["conv.bias", "conv.weight", "lin.bias"], &rest[..]].concat();
    assert_eq!(left_out(&lora), left);

    let locon = run("locon");
    assert_eq!(locon.layers.len(), 3);
    assert_eq!(left_out(&locon), [&["conv.bias", "lin.bias"], &rest[..]].concat());

    let full = run("full");
    assert_eq!(full.layers.len(), 7);
    assert_eq!(left_out(&full), ["scale", "token_embedding.weight"]);
    assert_eq!(full.total().error, 0.0);

    let whole: f64 = (0..9).map(|i| tail(&matrix(&update(i)), 0).powi(2)).sum();
    for found in [&lora, &locon, &full] {
        let (all, layers) = (found.total_of_all(), found.total());
        assert!((all.norm - whole.sqrt()).abs() < 1e-12);
        let lost: f64 = found.left_out.iter().map(|left| left.norm.unwrap().powi(2)).sum();
        assert!((all.error.powi(2) - lost - layers.error.powi(2)).abs() < 1e-12);
    }
}

#[test]
fn full_gives_the_tuned_model_back() {
    let files = Files::new();
    let [base, tuned] = models(&files);
    extract("full", RANK, DType::F64, &base, &tuned, &files.path("out")).unwrap();
    let merged = files.merged(&base, &files.path("out"));
    let tuned = Checkpoint::open(tuned).unwrap();
    for (key, _) in &TENSORS[..7] {
        assert!(distance(&values(&merged, key), &values(&tuned, key)) < 1e-15, "{key}");
    }
}

#[test]
fn norms_are_kept_exactly_where_asked_for() {
    let files = Files::new();
    let [base, tuned] = models(&files);
    let registry = registry();
    let choice = Choice::named(&registry, "lora").unwrap();
    let (device, compute, dtype) = (Device::flex(), DType::F64, DType::F64);
    let extract = Extract {
        registry: &registry,
        choice,
        budget: RANK,
        alpha: None,
        norms: true,
        device,
        compute,
        dtype,
    };
    let found = extract.run(&base, &tuned, &files.path("out"), false, |_, _| ()).unwrap();
    assert_eq!(adapted(&found)[1..3], ["lycoris_norm weight", "lycoris_norm bias"]);
    let file = Checkpoint::open(files.path("out")).unwrap();
    assert_eq!(values(&file, "lycoris_norm.b_norm"), update(4).iter::<f64>().collect::<Vec<_>>());
}

#[test]
fn a_bias_that_moved_alone_is_stored_beside_its_weight() {
    let files = Files::new();
    let weight = || noise(&[3, 2], 1);
    let base = files.write("base", &[("l.weight", weight()), ("l.bias", noise(&[3], 2))]);
    let tuned = files.write("tuned", &[("l.weight", weight()), ("l.bias", noise(&[3], 3))]);
    let out = files.path("out");
    extract("full", RANK, DType::F64, &base, &tuned, &out).unwrap();
    let file = Checkpoint::open(&out).unwrap();
    assert_eq!(values(&file, "lycoris_l.diff"), [0.0; 6]);
    let error = extract("lora", RANK, DType::F64, &base, &tuned, &files.path("none")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("in no layer that lora adapts (1 tensors are equal, 1 others"),
        "{message}"
    );
}

#[test]
fn rounding_to_the_file_s_type_is_no_difference() {
    let files = Files::new();
    let exact: Vec<f32> = noise(&[4, 4], 1).iter().collect();
    let half: Vec<f16> = exact.iter().map(|&x| f16::from_f32(x)).collect();
    let moved: Vec<f16> = half.iter().map(|x| *x + f16::ONE).collect();
    let base = |key| (key, TensorData::new(exact.clone(), [4, 4]));
    let tuned = |key, half: &[f16]| (key, TensorData::new(half.to_vec(), [4, 4]));
    let base = files.write("base", &[base("a.weight"), base("b.weight")]);
    let tuned = files.write("tuned", &[tuned("a.weight", &half), tuned("b.weight", &moved)]);
    let found = extract("lora", RANK, DType::F32, &base, &tuned, &files.path("out")).unwrap();
    assert_eq!((adapted(&found), found.equal), (vec!["lycoris_b weight".to_string()], 1));
}

#[test]
fn keys_and_shapes_of_one_side_are_listed() {
    let files = Files::new();
    let base = [("a.weight", noise(&[3, 2], 1)), ("b.weight", noise(&[3, 2], 2))];
    let base = [&base[..], &[("only.weight", noise(&[3, 2], 3))]].concat();
    let tuned = [("a.weight", noise(&[3, 2], 4)), ("b.weight", noise(&[3, 4], 5))];
    let tuned = [&tuned[..], &[("new.weight", noise(&[3, 2], 6))]].concat();
    let (base, tuned) = (files.write("base", &base), files.write("tuned", &tuned));
    let found = extract("lora", RANK, DType::F64, &base, &tuned, &files.path("out")).unwrap();
    assert_eq!(found.only_in_base, ["only.weight"]);
    assert_eq!(found.only_in_tuned, ["new.weight"]);
    assert_eq!(left_out(&found), ["b.weight"]);
    assert_eq!(found.left_out[0].reason, "its shape differs");
}

#[test]
fn a_stable_diffusion_checkpoint_gives_kohya_s_names() {
    let files = Files::new();
    const Q: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    const MLP: &str = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight";
    const VAE: &str = "first_stage_model.encoder.mid.attn_1.q.weight";
    let model = |name, seed| {
        let tensors = [(Q, [8, 768]), (MLP, [6, 4]), (VAE, [4, 4])];
        let tensors = tensors.map(|(key, shape)| (key, noise(&shape, seed)));
        files.write(name, &tensors)
    };
    let (base, tuned) = (model("base", 1), model("tuned", 2));
    let out = files.path("out");
    let found = extract("lora", RANK, DType::F64, &base, &tuned, &out).unwrap();
    assert_eq!(found.dialect, Dialect::Kohya);
    assert_eq!(left_out(&found), [VAE]);
    let file = Checkpoint::open(&out).unwrap();
    const NAME: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    assert!(file.info(&format!("{NAME}.lora_up.weight")).is_some(), "{:?}", file.names());
    let name = "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha";
    assert_eq!(values(&file, name), [2.0]);
    let metadata = file.metadata();
    for (key, value) in [
        ("ss_base_model_version", "sd_v1"),
        ("ss_network_alpha", "2"),
        ("ss_network_args", r#"{"algo":"lora"}"#),
        ("ss_network_dim", "2"),
        ("ss_network_module", "lycoris.kohya"),
    ] {
        assert_eq!(metadata[key], value);
    }
    let tensors: Vec<_> = file.names().iter().map(|name| file.read(name).unwrap()).collect();
    let hash = crate::sshs_model_hash(&tensors);
    assert_eq!(Some(metadata["sshs_model_hash"].as_str()), hash.strip_prefix("0x"));
}

#[test]
fn a_fused_projection_is_taken_apart() {
    let files = Files::new();
    const KEY: &str = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight";
    let w0 = noise(&[12, 4], 1);
    // Only the second of query, key and value moves.
    let step: Vec<f64> = (0..48).map(|i| if (16..32).contains(&i) { 1.0 } else { 0.0 }).collect();
    let tuned = plus(&w0, &TensorData::new(step, [12, 4]));
    let base = files.write("base", &[(KEY, w0)]);
    let tuned = files.write("tuned", &[(KEY, tuned)]);
    let out = files.path("out");
    let found = extract("lora", Budget::Rank(1), DType::F64, &base, &tuned, &out).unwrap();
    let name = "lora_te_text_model_encoder_layers_0_self_attn_k_proj weight";
    assert_eq!(adapted(&found), [name]);
    let merged = values(&files.merged(&base, &out), KEY);
    assert!(distance(&merged, &values(&Checkpoint::open(tuned).unwrap(), KEY)) < 1e-14);
}

#[test]
fn a_transposed_projection_is_extracted_as_the_layer_that_it_is() {
    let files = Files::new();
    const KEY: &str = "conditioner.embedders.1.model.text_projection";
    let w0 = noise(&[4, 3], 1);
    let step: Vec<f64> = (0..12).map(|i| f64::from(i / 3 + 1) * f64::from(i % 3)).collect();
    let tuned = plus(&w0, &TensorData::new(step, [4, 3]));
    let base = files.write("base", &[(KEY, w0)]);
    let tuned = files.write("tuned", &[(KEY, tuned)]);
    let out = files.path("out");
    let found = extract("lora", Budget::Rank(1), DType::F64, &base, &tuned, &out).unwrap();
    assert_eq!(adapted(&found), ["lora_te2_text_projection weight"]);
    assert_eq!(found.layers[0].shape, [3, 4]);
    let merged = values(&files.merged(&base, &out), KEY);
    assert!(distance(&merged, &values(&Checkpoint::open(tuned).unwrap(), KEY)) < 1e-12);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing_behind() {
    let files = Files::new();
    let nan = TensorData::from([[1.0, f64::NAN]]);
    let base = files.write("base", &[("l.weight", TensorData::from([[1.0, 2.0]]))]);
    let other = files.write("other", &[("k.weight", TensorData::from([[1.0, 3.0]]))]);
    let broken = files.write("broken", &[("l.weight", nan)]);
    let huge = files.write("huge", &[("l.weight", TensorData::from([[1e300, 2.0]]))]);
    let before = files.list();
    for (algorithm, tuned, part) in [
        ("lora", &other, "have no weight in common (of 1 and 1 tensors)"),
        ("lora", &base, "differs from"),
        ("lora", &broken, "\"l.weight\" is NaN at element 1"),
        (
            "lora+dora",
            &other,
            "lora+dora cannot be fitted to an update; choose one of lora, locon, ",
        ),
        ("nothing", &other, "nothing cannot be fitted"),
    ] {
        let out = files.path("out");
        let error = extract(algorithm, RANK, DType::F64, &base, tuned, &out).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(files.list(), before);
    }
    let error = extract("full", RANK, DType::F32, &base, &huge, &files.path("out")).unwrap_err();
    assert!(
        error.to_string().contains("l.weight: cannot be fitted: its update overflows F32"),
        "{error}"
    );
    let error = extract("lora", RANK, DType::F64, &base, &huge, &other).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(files.list(), before);
}
