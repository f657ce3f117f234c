use serde_json::{Value, json};

use super::*;
use crate::{Names, names::Architecture};

const KOHYA_Q: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
const PATH_Q: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";

/// A low-rank module of rank 2.
fn low_rank(alpha: f32) -> Tensors {
    Tensors::from([
        ("lora_down.weight".into(), ramp([2, 3], 1.0)),
        ("lora_up.weight".into(), ramp([4, 2], 1.0)),
        ("alpha".into(), number(alpha)),
    ])
}

pub fn file<const N: usize>(modules: [(&str, Tensors); N]) -> AdapterFile {
    let modules = modules.into_iter().map(|(name, tensors)| (name.into(), tensors)).collect();
    AdapterFile::new("in.safetensors".as_ref(), Dialect::Kohya, modules)
}

pub fn encode(file: &AdapterFile, to: Dialect) -> Result<Encoded, FileError> {
    file.encode(&registry(), to, None, &Network::default())
}

pub fn keys(encoded: &Encoded) -> Vec<&str> {
    encoded.tensors.keys().map(String::as_str).collect()
}

#[test]
fn lycoris_and_kohya_differ_in_the_prefix() {
    let file = file([(KOHYA_Q, low_rank(1.0))]);
    let name = KOHYA_Q.replace("lora_unet_", "lycoris_");
    let lycoris = encode(&file, Dialect::Lycoris).unwrap();
    let suffixes = ["alpha", "lora_down.weight", "lora_up.weight"];
    assert_eq!(keys(&lycoris), suffixes.map(|suffix| format!("{name}.{suffix}")));
    let folder = tempdir().unwrap();
    let back = encode(&rewrite(&lycoris, folder.path()), Dialect::Kohya).unwrap();
    let read = rewrite(&back, folder.path());
    assert_eq!((read.dialect, &read.modules), (Dialect::Kohya, &file.modules));
}

#[test]
fn alpha_is_always_written() {
    let mut tensors = low_rank(1.0);
    tensors.remove("alpha");
    let encoded = encode(&file([(KOHYA_Q, tensors)]), Dialect::Kohya).unwrap();
    assert_eq!(encoded.tensors[&format!("{KOHYA_Q}.alpha")], number(2.0));
}

#[test]
fn metadata_describe_the_network() {
    let network = Network {
        dim: Some(2),
        alpha: Some(0.5),
        args: Some(BTreeMap::from([("algo".into(), "lora".into())])),
        base_model_version: Some("sd_v1".into()),
    };
    let mut file = file([("lora_unet_x", low_rank(0.5))]);
    file.metadata.insert("ss_steps".into(), "7".into());
    file.metadata.insert("lora_adapter_metadata".into(), "{}".into());
    let encoded = file.encode(&registry(), Dialect::Lycoris, None, &network).unwrap();
    let hash = encoded.metadata["sshs_model_hash"].clone();
    let expected = [
        ("ss_base_model_version", "sd_v1"),
        ("ss_network_alpha", "0.5"),
        ("ss_network_args", r#"{"algo":"lora"}"#),
        ("ss_network_dim", "2"),
        ("ss_network_module", "lycoris.kohya"),
        ("ss_steps", "7"),
        ("sshs_model_hash", &hash),
    ];
    assert_eq!(encoded.metadata, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
    // In the file, f32 tensors stand in the order of their names: alpha 0.5, down 1..6, up 1..8.
    let values = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    assert_eq!(
        hash,
        crate::sshs_model_hash(&[TensorData::new(values.map(|x| x as f32).to_vec(), [15])])
    );
}

#[test]
fn diffusers_files_have_no_alpha() {
    let encoded = encode(&file([(KOHYA_Q, low_rank(1.0))]), Dialect::Diffusers).unwrap();
    let (a, b) = (format!("unet.{PATH_Q}.lora_A.weight"), format!("unet.{PATH_Q}.lora_B.weight"));
    assert_eq!(keys(&encoded), [a.as_str(), &b]);
    // alpha / rank = 1/2 is in B.
    assert_eq!(encoded.tensors[&a], ramp([2, 3], 1.0));
    assert_eq!(encoded.tensors[&b], ramp([4, 2], 0.5));
    let config: Value = serde_json::from_str(&encoded.metadata["lora_adapter_metadata"]).unwrap();
    assert_eq!((&config["unet.r"], &config["unet.lora_alpha"]), (&json!(2), &json!(2)));
    assert_eq!(config["unet.target_modules"], json!([PATH_Q]));
    // Read back, alpha is the rank.
    let read = rewrite(&encoded, tempdir().unwrap().path());
    assert_eq!(read.modules[&format!("unet.{PATH_Q}")]["alpha"], number(2.0));
}

#[test]
fn diffusers_keys_tell_the_component() {
    let file = file([
        ("lora_unet_conv_in", low_rank(2.0)),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", low_rank(2.0)),
        ("lora_te2_text_model_encoder_layers_20_mlp_fc1", low_rank(2.0)),
    ]);
    let encoded = encode(&file, Dialect::Diffusers).unwrap();
    let modules: Vec<&str> =
        keys(&encoded).iter().filter_map(|k| k.strip_suffix(".lora_A.weight")).collect();
    assert_eq!(
        modules,
        [
            "text_encoder.text_model.encoder.layers.0.mlp.fc1",
            "text_encoder_2.text_model.encoder.layers.20.mlp.fc1",
            "unet.conv_in",
        ]
    );
    // diffusers refuses a file with any key that lacks the word.
    assert!(keys(&encoded).iter().all(|key| key.contains("lora")));
    let message = encode(&file, Dialect::Peft).unwrap_err().to_string();
    assert!(message.contains("one model") && message.contains("--to diffusers"), "{message}");
}

#[test]
fn text_encoders_are_found_with_and_without_their_outermost_module() {
    let mut wider = low_rank(2.0);
    wider.insert("lora_down.weight".into(), ramp([4, 3], 1.0));
    wider.insert("lora_up.weight".into(), ramp([4, 4], 1.0));
    let name = |layer| format!("lora_te_text_model_encoder_layers_{layer}_mlp_fc1");
    let file = file([(&*name(0), low_rank(2.0)), (&*name(1), low_rank(2.0)), (&*name(2), wider)]);
    let encoded = encode(&file, Dialect::Diffusers).unwrap();
    let config: Value = serde_json::from_str(&encoded.metadata["lora_adapter_metadata"]).unwrap();
    assert_eq!(config["text_encoder.target_modules"][0], "encoder.layers.0.mlp.fc1");
    assert_eq!(config["text_encoder.rank_pattern"], json!({"encoder.layers.2.mlp.fc1": 4}));
}

#[test]
fn peft_files_have_alpha_in_their_configuration() {
    let mut other = low_rank(8.0);
    other.insert("lora_down.weight".into(), ramp([1, 3], 1.0));
    other.insert("lora_up.weight".into(), ramp([4, 1], 1.0));
    let file = file([("m.a", low_rank(1.0)), ("m.b", low_rank(1.0)), ("m.c", other)]);
    let encoded = encode(&file, Dialect::Peft).unwrap();
    assert_eq!(
        keys(&encoded)[..2],
        ["base_model.model.m.a.lora_A.weight", "base_model.model.m.a.lora_B.weight"]
    );
    let config: Value = serde_json::from_str(encoded.adapter_config.as_ref().unwrap()).unwrap();
    for (key, value) in [
        ("peft_type", json!("LORA")),
        ("r", json!(2)),
        ("lora_alpha", json!(1)),
        ("rank_pattern", json!({"^m.c": 1})),
        ("alpha_pattern", json!({"^m.c": 8})),
        ("target_modules", json!(["m.a", "m.b", "m.c"])),
        ("use_dora", json!(false)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let read = rewrite(&encoded, tempdir().unwrap().path());
    let expected = file.modules.iter().map(|(k, v)| (format!("base_model.model.{k}"), v.clone()));
    assert_eq!(read.modules, expected.collect());
}

#[test]
fn weight_decomposition_survives_peft() {
    let mut linear = low_rank(2.0);
    linear.insert("dora_scale".into(), ramp([4, 1], 1.0));
    let conv = Tensors::from([
        ("lora_down.weight".into(), ramp([2, 3, 3, 3], 1.0)),
        ("lora_up.weight".into(), ramp([4, 2, 1, 1], 1.0)),
        ("dora_scale".into(), ramp([4, 1, 1, 1], 1.0)),
        ("alpha".into(), number(2.0)),
    ]);
    let file = file([("m.conv", conv), ("m.linear", linear)]);
    let encoded = encode(&file, Dialect::Peft).unwrap();
    let magnitude =
        |m: &str| encoded.tensors[&format!("base_model.model.m.{m}.lora_magnitude_vector")].clone();
    assert_eq!(magnitude("linear"), ramp([4], 1.0));
    assert_eq!(magnitude("conv"), ramp([1, 4, 1, 1], 1.0));
    assert!(encoded.adapter_config.as_ref().unwrap().contains("\"use_dora\": true"));
    let read = rewrite(&encoded, tempdir().unwrap().path());
    assert_eq!(read.modules["base_model.model.m.conv"], file.modules["m.conv"]);
    assert_eq!(read.modules["base_model.model.m.linear"], file.modules["m.linear"]);
}

#[test]
fn what_a_dialect_cannot_hold_is_named_with_the_remedy() {
    let mut tucker = low_rank(1.0);
    tucker.insert("lora_mid.weight".into(), ramp([2, 2, 3, 3], 1.0));
    let mut by_input = low_rank(1.0);
    by_input.insert("dora_scale".into(), ramp([1, 3], 1.0));
    let mut torn = low_rank(1.0);
    torn.insert("lora_up.weight".into(), ramp([4, 5], 1.0));
    let mut half = low_rank(1.0);
    half.remove("lora_up.weight");
    let diff = Tensors::from([("diff".into(), ramp([4, 3], 1.0))]);
    for (tensors, what) in [
        (tucker, "lora_mid.weight"),
        (by_input, "dora_scale along the input"),
        (torn, "factors of different or no rank"),
        (half, "a part of a low-rank adapter"),
        (diff, "diff"),
    ] {
        for to in [Dialect::Diffusers, Dialect::Peft] {
            let message =
                encode(&file([("unet.m.a", tensors.clone())]), to).unwrap_err().to_string();
            let expected = format!(
                "in.safetensors: module \"unet.m.a\": {what} cannot be written as {to}; bake it with --bake lora"
            );
            assert!(message.starts_with(&expected), "{message}");
        }
        encode(&file([("m.a", tensors)]), Dialect::Lycoris).unwrap();
    }
    let mut decomposed = low_rank(1.0);
    decomposed.insert("dora_scale".into(), ramp([4, 1], 1.0));
    let mixed = file([("m.a", low_rank(1.0)), ("m.b", decomposed)]);
    let message = encode(&mixed, Dialect::Peft).unwrap_err().to_string();
    assert!(message.contains("\"m.a\": no dora_scale where others have one"), "{message}");
}

#[test]
fn the_base_says_where_the_dots_are() {
    let flattened = file([("lora_unet_my_model_to_q", low_rank(2.0))]);
    let message = encode(&flattened, Dialect::Peft).unwrap_err().to_string();
    assert!(
        message.starts_with("in.safetensors: module \"lora_unet_my_model_to_q\": ")
            && message.contains("--base FILE"),
        "{message}"
    );
    let base = Names::new(["my.model.to_q.weight"]);
    let encoded =
        flattened.encode(&registry(), Dialect::Peft, Some(&base), &Network::default()).unwrap();
    assert_eq!(keys(&encoded)[0], "base_model.model.my.model.to_q.lora_A.weight");
    // The prefix of flattened names can be changed without.
    let lycoris = encode(&flattened, Dialect::Lycoris).unwrap();
    assert_eq!(keys(&lycoris)[0], "lycoris_my_model_to_q.alpha");
    // A base that lacks the module is the wrong base.
    let wrong = Names::new(["my.model.to_k.weight"]);
    let error = flattened
        .encode(&registry(), Dialect::Peft, Some(&wrong), &Network::default())
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message
            .starts_with("in.safetensors: module \"lora_unet_my_model_to_q\": not in the base; "),
        "{message}"
    );
}

#[test]
fn kohya_has_the_original_names_of_the_published_sdxl_only() {
    const Q: &str = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q";
    const ORIGINAL: &str = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q";
    const FLAT: &str = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q";
    let whole = |it: Architecture| it.unet_modules().map(|(module, _)| module).collect::<Vec<_>>();
    let sdxl = whole(Architecture::Sdxl);
    // Modules of smaller UNets, which SDXL has too.
    let two = vec!["conv_in", Q, "up_blocks.0.attentions.1.proj_in", "up_blocks.1.resnets.1.conv1"];
    let three = [&two[..], &["down_blocks.2.attentions.0.norm", "up_blocks.2.resnets.1.conv1"]];
    for (name, modules) in [
        (FLAT, two.clone()),
        (FLAT, three.concat()),
        (FLAT, whole(Architecture::Sd)),
        (FLAT, sdxl[1..].to_vec()),
        (FLAT, [&sdxl[..], &["added.conv_in"]].concat()),
        (ORIGINAL, sdxl),
    ] {
        let names = Names::new(modules.iter().map(|module| format!("{module}.weight")));
        // Whichever is written, both are read.
        let targets = [Q, FLAT, ORIGINAL].map(|name| names.expect(name).unwrap());
        assert_eq!(targets.map(|target| target.path.as_deref()), [Some(Q); 3]);
        let written = module_name(Path::new("base"), targets[0], &names, Dialect::Kohya);
        assert_eq!(written.unwrap(), name, "{} modules", modules.len());
    }
}

#[test]
fn without_a_base_the_deepest_transformers_tell_sdxl() {
    let diffusers = |paths: &[&str]| {
        let modules = paths.iter().map(|path| (format!("unet.{path}"), low_rank(2.0)));
        let file = AdapterFile {
            dialect: Dialect::Diffusers,
            modules: modules.collect(),
            ..file::<0>([])
        };
        let encoded = encode(&file, Dialect::Kohya).unwrap();
        keys(&encoded)[0].strip_suffix(".alpha").unwrap().to_string()
    };
    let deep = "mid_block.attentions.0.transformer_blocks.9.ff.net.2";
    let added = "add_embedding.linear_1";
    assert_eq!(diffusers(&[added, deep]), "lora_unet_label_emb_0_0");
    assert_eq!(diffusers(&[added]), "lora_unet_add_embedding_linear_1");
    let sd = "down_blocks.3.resnets.0.conv1";
    assert_eq!(diffusers(&[sd]), "lora_unet_down_blocks_3_resnets_0_conv1");
}

#[test]
fn two_modules_do_not_become_one() {
    let file =
        file([("lora_te1_text_model_x", low_rank(2.0)), ("lora_te2_text_model_x", low_rank(2.0))]);
    let message = encode(&file, Dialect::Lycoris).unwrap_err().to_string();
    assert!(
        message.contains("lora_te1_text_model_x") && message.contains("choose --to kohya"),
        "{message}"
    );
}

#[test]
fn the_same_adapter_gives_the_same_bytes() {
    let folder = tempdir().unwrap();
    let written = |name: &str, to| {
        let path = folder.path().join(name);
        encode(&file([(KOHYA_Q, low_rank(1.0))]), to).unwrap().write(&path, true).unwrap();
        fs::read(path).unwrap()
    };
    for to in Dialect::ALL {
        assert_eq!(written(&format!("{to}-1"), to), written(&format!("{to}-2"), to));
    }
}

#[test]
fn halves_are_scaled_without_a_second_rounding() {
    let half = |x: f32| TensorData::new(vec![half::f16::from_f32(x); 2], [2, 1]);
    let tensors = Tensors::from([
        ("lora_down.weight".into(), TensorData::new(vec![half::f16::from_f32(1.0); 3], [1, 3])),
        ("lora_up.weight".into(), half(0.1)),
        ("alpha".into(), number(3.0)),
    ]);
    let encoded = encode(&file([("unet.m", tensors)]), Dialect::Diffusers).unwrap();
    let expected = half::f16::from_f32(0.1).to_f32() * 3.0;
    assert_eq!(encoded.tensors["unet.m.lora_B.weight"].as_slice::<f32>().unwrap(), [expected; 2]);
    assert_eq!("peft".parse(), Ok(Dialect::Peft));
    assert!(
        "onnx".parse::<Dialect>().unwrap_err().contains("choose lycoris, kohya, diffusers, peft")
    );
}

#[test]
fn a_file_and_its_configuration_are_written_both_or_neither() {
    let encoded = encode(&file([("m.a", low_rank(1.0))]), Dialect::Peft).unwrap();
    let folder = tempdir().unwrap();
    let [config, adapter] =
        ["adapter_config.json", "a.safetensors"].map(|it| folder.path().join(it));
    fs::write(&config, "mine").unwrap();
    assert!(matches!(encoded.write(&adapter, false), Err(FileError::Exists { .. })));
    assert!(!adapter.exists());
    // The configuration of another adapter stays, whatever may be replaced.
    let other = folder.path().join("adapter_model.safetensors");
    fs::write(&other, "mine").unwrap();
    assert!(matches!(encoded.write(&adapter, true), Err(FileError::Config { .. })));
    assert_eq!(fs::read(&config).unwrap(), b"mine");
    assert!(!adapter.exists());
    fs::remove_file(other).unwrap();
    // A folder is in the way of the tensors.
    fs::create_dir(&adapter).unwrap();
    encoded.write(&adapter, true).unwrap_err();
    assert_eq!(fs::read(&config).unwrap(), b"mine");
    fs::remove_dir(&adapter).unwrap();
    encoded.write(&adapter, true).unwrap();
    assert_eq!(fs::read_to_string(&config).unwrap(), encoded.adapter_config.clone().unwrap());
    assert_eq!(encoded.files(&adapter), [adapter, config]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_network_module_keeps_its_arguments() {
    let mut file = file([("lora_unet_a", low_rank(1.0))]);
    file.metadata.insert("ss_network_module".into(), "networks.lora".into());
    let args = Some([("algo".to_string(), "lora".to_string())].into());
    let network = Network { dim: Some(2), args, ..Network::default() };
    let said = network.clone().unless_said(&file.metadata);
    let plain = file.encode(&registry(), Dialect::Kohya, None, &said).unwrap().metadata;
    assert_eq!(plain["ss_network_module"], "networks.lora");
    assert!(!plain.contains_key("ss_network_args") && plain["ss_network_dim"] == "2");
    // What is made anew is LyCORIS's.
    let anew = file.encode(&registry(), Dialect::Kohya, None, &network).unwrap().metadata;
    assert_eq!(anew["ss_network_module"], "lycoris.kohya");
}
