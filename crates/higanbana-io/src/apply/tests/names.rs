//! What other programs' files mean, by the values that these programs act with, and by hand.

use burn::tensor::TensorData;

use super::*;
use crate::{AdapterReader, testing::reference};

/// Relative Frobenius norm, in f32.
const TOLERANCE: f64 = 1e-6;

fn fixture(name: &str) -> PathBuf {
    reference("names").join(name)
}

/// Asserts that a merged model has the weights of a committed file under these keys.
fn expect(merged: &Checkpoint, expected: &str, keys: &[(&str, &str)]) {
    let expected = Checkpoint::open(fixture(expected)).unwrap();
    for (key, there) in keys {
        let deviation = relative(&values(merged, key), &values(&expected, there));
        assert!(deviation < TOLERANCE, "{there}: {deviation:.1e}");
    }
}

/// A file with other keys and metadata; a key without a new one is left out.
fn renamed(
    files: &Files,
    path: &Path,
    metadata: &[(&str, &str)],
    rename: impl Fn(&str) -> Option<String>,
) -> PathBuf {
    let file = Checkpoint::open(path).unwrap();
    let tensors =
        file.names().iter().filter_map(|key| Some((rename(key)?, file.read(key).unwrap())));
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    write_tensors(&files.path("renamed"), &tensors.collect(), &metadata.collect(), true).unwrap();
    files.path("renamed")
}

fn notes_of(path: &Path) -> Vec<String> {
    let registry = registry();
    notes(&AdapterReader::open(path, &registry).unwrap(), &registry)
}

#[test]
fn glora_under_rs_lora_acts_as_lycoris_trained_it_where_its_file_says_so() {
    let files = Files::new();
    let (base, path) = (fixture("base.safetensors"), fixture("glora_rs.safetensors"));
    let (left, merged) = files.merge(&base, &[(&path, 1.0)], DType::F32).unwrap();
    assert_eq!((left, notes_of(&path)), (vec![], vec![]));
    let both = [("lin.weight", "lin.weight"), ("conv.weight", "conv.weight")];
    expect(&merged, "glora_rs.expected.safetensors", &both);
    // Without its metadata it is read at alpha / rank, half of that, and the note says so.
    let silent = renamed(&files, &path, &[], |key| Some(key.into()));
    let [note] = &notes_of(&silent)[..] else { panic!("{:?}", notes_of(&silent)) };
    assert!(note.contains("trained it with rs_lora") && note.contains("√rank times"), "{note}");
    let (_, half) = files.merge(&base, &[(&silent, 2.0)], DType::F32).unwrap();
    expect(&half, "glora_rs.expected.safetensors", &both);
}

#[test]
fn dylora_is_read_as_every_program_reads_it_and_what_lycoris_trained_is_noted() {
    let files = Files::new();
    let (base, path) = (fixture("base.safetensors"), fixture("dylora.safetensors"));
    let [note] = &notes_of(&path)[..] else { panic!("{:?}", notes_of(&path)) };
    assert!(note.contains("its update is block_size times as large"), "{note}");
    let merge = |strength| files.merge(&base, &[(&path, strength)], DType::F32).unwrap().1;
    expect(&merge(1.0), "dylora.expected.safetensors", &[("lin.weight", "lin.weight")]);
    // In blocks of two.
    expect(&merge(2.0), "dylora.expected.safetensors", &[("lin.weight", "lin.trained")]);
}

#[test]
fn peft_s_biases_and_magnitudes_act_as_peft_merges_them() {
    let files = Files::new();
    let all = ["lin.weight", "lin.bias", "conv.weight", "conv.bias"].map(|key| (key, key));
    for name in ["peft_bias", "peft_dora"] {
        let path = fixture(name).join("adapter_model.safetensors");
        let (left, merged) =
            files.merge(&fixture("base.safetensors"), &[(&path, 1.0)], DType::F32).unwrap();
        assert_eq!((left, notes_of(&path)), (vec![], vec![]), "{name}");
        expect(&merged, &format!("{name}/expected.safetensors"), &all);
    }
}

#[test]
fn magnitudes_beside_flattened_names_are_dora_s() {
    let files = Files::new();
    let peft = fixture("peft_dora").join("adapter_model.safetensors");
    for (magnitude, prefix) in [
        ("lora_magnitude_vector", "lora_unet_"),
        ("magnitude", "lycoris_"),
        ("magnitude", "lora_unet_"),
    ] {
        let path = renamed(&files, &peft, &[], |key| {
            let (module, tensor) = key.strip_prefix("base_model.model.")?.split_once('.')?;
            Some(match tensor {
                "lora_A.weight" => format!("{prefix}{module}.lora_down.weight"),
                "lora_B.weight" => format!("{prefix}{module}.lora_up.weight"),
                _ => format!("{prefix}{module}.{magnitude}"),
            })
        });
        // alpha / rank is 6 / 4, of which such a file has nothing here: it is put into the strength of B.
        let file = Checkpoint::open(&path).unwrap();
        let tensors = file.names().iter().map(|key| {
            let data = file.read(key).unwrap();
            let scaled = || data.iter::<f32>().map(|x| 1.5 * x).collect::<Vec<_>>();
            let data = match key.ends_with("lora_up.weight") {
                true => TensorData::new(scaled(), data.shape().clone()),
                false => data,
            };
            (key.clone(), data)
        });
        let path = files.path("scaled");
        write_tensors(&path, &tensors.collect(), &BTreeMap::new(), true).unwrap();
        let (left, merged) =
            files.merge(&fixture("base.safetensors"), &[(&path, 1.0)], DType::F32).unwrap();
        assert_eq!(left, [], "{magnitude}");
        expect(
            &merged,
            "peft_dora/expected.safetensors",
            &["lin.weight", "conv.weight"].map(|key| (key, key)),
        );
    }
}

#[test]
fn comfyui_s_differences_of_norms_are_added() {
    let files = Files::new();
    let norm = "model.diffusion_model.output_blocks.5.1.norm";
    let (weight, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
    let proj = "model.diffusion_model.output_blocks.5.1.proj_in";
    let (w, b) = (format!("{proj}.weight"), format!("{proj}.bias"));
    let base = files.write(
        "base",
        &[
            (&*weight, TensorData::from([1.0f32, 2.0])),
            (&bias, TensorData::from([3.0f32, 4.0])),
            (&w, TensorData::from([[1.0f32, 0.0], [0.0, 1.0]])),
            (&b, TensorData::from([0.0f32, 1.0])),
        ],
    );
    let path = files.write(
        "a",
        &[
            ("diffusion_model.output_blocks.5.1.norm.diff", TensorData::from([0.5f32, -1.0])),
            ("diffusion_model.output_blocks.5.1.norm.diff_b", TensorData::from([1.0f32, 2.0])),
            (
                "diffusion_model.output_blocks.5.1.proj_in.lora_up.weight",
                TensorData::from([[1.0f32], [2.0]]),
            ),
            (
                "diffusion_model.output_blocks.5.1.proj_in.lora_down.weight",
                TensorData::from([[3.0f32, 1.0]]),
            ),
            ("diffusion_model.output_blocks.5.1.proj_in.diff_b", TensorData::from([1.0f32, 1.0])),
        ],
    );
    let (left, merged) = files.merge(&base, &[(&path, 2.0)], DType::F32).unwrap();
    assert_eq!(left, []);
    assert_eq!(values(&merged, &weight), [2.0, 0.0]);
    assert_eq!(values(&merged, &bias), [5.0, 8.0]);
    assert_eq!(values(&merged, &w), [7.0, 2.0, 12.0, 5.0]);
    assert_eq!(values(&merged, &b), [2.0, 3.0]);
    // All of it is told without the base too.
    let Ok(Inspection::Adapter(all)) =
        inspect(&path, None, &registry(), &Device::flex(), |_, _| ())
    else {
        panic!("it is an adapter")
    };
    let algorithms: Vec<_> =
        all.adapters.iter().map(|row| (row.algorithm, row.parameter)).collect();
    assert_eq!(algorithms[..2], [("norm", "weight"), ("norm", "bias")]);
    assert_eq!((all.leftovers, algorithms.len()), (vec![], 4));
}

#[test]
fn one_module_that_is_not_understood_leaves_the_others_to_inspect() {
    let files = Files::new();
    let zeros = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    let path = files.write(
        "a",
        &[
            ("lora_unet_a.lora_up.weight", zeros([2, 3])),
            ("lora_unet_a.lora_down.weight", zeros([4, 2])),
            ("lora_unet_b.diff", zeros([2, 2])),
        ],
    );
    let Ok(Inspection::Adapter(all)) =
        inspect(&path, None, &registry(), &Device::flex(), |_, _| ())
    else {
        panic!("it is an adapter")
    };
    let modules: Vec<_> = all.adapters.iter().map(|row| row.module.as_str()).collect();
    assert_eq!(modules, ["lora_unet_b"]);
    let [left] = &all.leftovers[..] else { panic!("{:?}", all.leftovers) };
    assert!(left.to_string().contains("lora_up.weight: shape [2, 3] does not fit"), "{left}");
    assert!(!left.harmless);
}

#[test]
fn the_projection_of_sdxl_s_second_encoder_is_stored_transposed_in_single_files() {
    let files = Files::new();
    // P is [width, projection] there, the layer's weight [projection, width] = Pᵀ.
    let (single, dotted) =
        ("conditioner.embedders.1.model.text_projection", "text_encoder_2.text_projection.weight");
    let base = |key| files.write(key, &[(key, TensorData::zeros::<f32, _>([2, 2]))]);
    let pair = |name: &str| {
        let (up, down) = (format!("{name}.lora_up.weight"), format!("{name}.lora_down.weight"));
        let alpha = format!("{name}.alpha");
        files.write(
            "a",
            &[
                (&*up, TensorData::from([[1.0f32], [2.0]])),
                (&down, TensorData::from([[3.0f32, 4.0]])),
                (&alpha, TensorData::from([0.5f32])),
            ],
        )
    };
    // mu alpha / r B A = [[3, 4], [6, 8]]
    for (name, key, expected) in [
        ("lora_te2_text_projection", single, [3.0, 6.0, 4.0, 8.0]),
        ("text_encoder_2.text_projection", single, [3.0, 6.0, 4.0, 8.0]),
        ("text_encoders.clip_g.transformer.text_projection", single, [3.0, 6.0, 4.0, 8.0]),
        ("lora_te2_text_projection", dotted, [3.0, 4.0, 6.0, 8.0]),
    ] {
        let (left, merged) = files.merge(&base(key), &[(&pair(name), 2.0)], DType::F32).unwrap();
        assert_eq!((left, values(&merged, key)), (vec![], expected.to_vec()), "{name} {key}");
    }
}

#[test]
fn what_could_have_acted_nowhere_is_harmless() {
    let files = Files::new();
    let zero = || TensorData::from([[0.0f32]]);
    let unet = files.write("unet", &[("conv_in.weight", zero())]);
    let both = files.write(
        "both",
        &[
            ("unet.conv_in.weight", zero()),
            ("text_encoder.text_model.encoder.layers.0.mlp.fc1.weight", zero()),
        ],
    );
    let path = files.write(
        "a",
        &[
            ("lora_unet_conv_in.diff", zero()),
            ("lora_unet_conv_out.diff", zero()),
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1.diff", zero()),
            ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", zero()),
            ("bundle_emb.cat.string_to_param.*", zero()),
        ],
    );
    let harmful = |base: &Path| {
        let (left, _) = files.merge(base, &[(&path, 1.0)], DType::F32).unwrap();
        assert_eq!(left.len(), 4, "{left:?}");
        let harmful = left.into_iter().filter(|left| !left.harmless);
        harmful.map(|left| left.name).collect::<Vec<_>>()
    };
    // A second text encoder is missed where there is a first.
    assert_eq!(harmful(&unet), ["lora_unet_conv_out"]);
    let te2 = "lora_te2_text_model_encoder_layers_0_mlp_fc1";
    assert_eq!(harmful(&both), [te2, "lora_unet_conv_out"]);
}
