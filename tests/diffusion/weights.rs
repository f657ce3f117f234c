//! Folders that are not what they should be.

use std::{collections::BTreeMap, fs, path::Path};

use burn::tensor::{DType, Device, TensorData};
use higanbana_diffusion::{ModelError, UNet2DConditionModel};
use higanbana_io::{Checkpoint, writer::write_tensors};

use super::{
    reference::{deviation, unet_folder},
    unet::Inputs,
};

const FILE: &str = "diffusion_pytorch_model.safetensors";

fn read(folder: &Path) -> Result<UNet2DConditionModel, ModelError> {
    UNet2DConditionModel::read(folder, &Device::default(), DType::F32)
}

fn tensors(file: &Path) -> BTreeMap<String, TensorData> {
    let file = Checkpoint::open(file).unwrap();
    file.names().iter().map(|name| (name.clone(), file.read(name).unwrap())).collect()
}

fn write(file: &Path, tensors: &BTreeMap<String, TensorData>) {
    write_tensors(file, tensors, &BTreeMap::new(), true).unwrap();
}

fn message(folder: &Path) -> String {
    read(folder).unwrap_err().to_string()
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let folder = unet_folder("unet_sd1");
    let file = folder.path().join(FILE);
    let mut tensors = tensors(&file);
    let bias = tensors.remove("conv_in.bias").unwrap();
    tensors.insert("conv_in.bios".into(), bias);
    tensors.insert("conv_out.bias".into(), TensorData::zeros::<f32, _>([5]));
    write(&file, &tensors);
    let message = message(folder.path());
    let (_, list) = message.split_once(": ").unwrap();
    assert_eq!(
        list,
        "3 tensors do not fit the model: conv_in.bias is missing; conv_out.bias is [5] where the model has \
         [4]; conv_in.bios is left over"
    );
}

#[test]
fn a_long_list_is_cut() {
    let folder = unet_folder("unet_sd1");
    let file = folder.path().join(FILE);
    let tensors = tensors(&file);
    let total = tensors.len();
    write(&file, &tensors.into_iter().take(3).collect());
    let message = message(folder.path());
    assert_eq!(message.lines().count(), 1);
    assert_eq!(message.matches(" is missing").count(), 5);
    assert!(message.ends_with(&format!("; and {} more", total - 3 - 5)), "{message}");
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let folder = unet_folder("unet_sd1");
    let file = folder.path().join(FILE);
    let mut tensors = tensors(&file);
    tensors.insert("conv_out.bias".into(), TensorData::from([1.0f32, 2.0, f32::NAN, 0.0]));
    write(&file, &tensors);
    let message = message(folder.path());
    assert!(message.contains("conv_out.bias") && message.contains("NaN"), "{message}");
}

#[test]
fn shards_and_half_precision_are_read() {
    let device = Device::default();
    let folder = unet_folder("unet_sd1");
    let (path, file) = (folder.path(), folder.path().join(FILE));
    let whole = read(path).unwrap();
    let inputs = Inputs::new(&whole, [4, 4], &device);
    let values = |model: &UNet2DConditionModel| -> Vec<f32> {
        inputs.forward(model).into_data().iter().collect()
    };
    let expected = values(&whole);

    let tensors = tensors(&file);
    fs::remove_file(&file).unwrap();
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    let mut map = serde_json::Map::new();
    for (index, (key, data)) in tensors.iter().enumerate() {
        let (part, name) = match index % 2 {
            0 => (&mut first, "a-00001-of-00002.safetensors"),
            _ => (&mut second, "a-00002-of-00002.safetensors"),
        };
        part.insert(key.clone(), data.clone());
        map.insert(key.clone(), name.into());
    }
    write(&path.join("a-00001-of-00002.safetensors"), &first);
    write(&path.join("a-00002-of-00002.safetensors"), &second);
    let index = path.join("diffusion_pytorch_model.safetensors.index.json");
    fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    assert_eq!(values(&read(path).unwrap()), expected);

    fs::write(&index, r#"{"weight_map": {"a": "../other.safetensors"}}"#).unwrap();
    assert!(message(path).ends_with("names a file outside its folder"));
    fs::remove_file(&index).unwrap();

    let half = tensors.into_iter().map(|(key, data)| (key, data.convert::<half::f16>())).collect();
    write(&path.join("diffusion_pytorch_model.fp16.safetensors"), &half);
    let deviation = deviation(&expected, &values(&read(path).unwrap()));
    assert!(deviation > 0.0 && deviation < 1e-2, "{deviation}");
}

#[test]
fn a_folder_without_what_is_needed_says_so() {
    let folder = unet_folder("unet_sd1");
    let path = folder.path();
    fs::rename(path.join(FILE), path.join("other.safetensors")).unwrap();
    assert!(message(path).contains("is a directory without weights (such as"), "{}", message(path));
    fs::remove_file(path.join("config.json")).unwrap();
    assert!(message(path).contains("config.json: cannot be read"));
    assert!(message(&path.join("absent")).contains("cannot be read"));
}

#[test]
fn a_truncated_file_is_refused() {
    let folder = unet_folder("unet_sd1");
    let file = folder.path().join(FILE);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(folder.path()).contains("is truncated"));
}

#[test]
fn a_configuration_that_means_something_else_is_refused_by_the_field() {
    for (field, value, expected) in [
        (
            "_class_name",
            "\"UNet3DConditionModel\"",
            "is the configuration of a UNet3DConditionModel",
        ),
        ("act_fn", "\"gelu\"", "field act_fn is \"gelu\"; only \"silu\" is supported"),
        ("time_cond_proj_dim", "7", "field time_cond_proj_dim must be an even number"),
        ("frobnicate", "1", "field frobnicate is unknown"),
        ("sample_size", "\"large\"", "field sample_size cannot be \"large\""),
        ("layers_per_block", "1000000000", "field layers_per_block is 1000000000; 1000 at most"),
        ("norm_num_groups", "null", "field norm_num_groups cannot be null"),
        ("norm_num_groups", "7", "field norm_num_groups at block 0 does not suit 16 channels: 7"),
        ("attention_head_dim", "[2, 4]", "field attention_head_dim has 2 values for 3 blocks"),
        ("attention_head_dim", "5", "field attention_head_dim at block 0 does not suit"),
        ("mid_block_type", "null", "field mid_block_type is null"),
        ("up_block_types", "[\"UpBlock2D\"]", "field block_out_channels has 3 blocks"),
        (
            "down_block_types",
            "[\"AttnDownBlock2D\"]",
            "field down_block_types has AttnDownBlock2D;",
        ),
        ("addition_embed_type", "\"text\"", "field addition_embed_type is text; only text_time"),
        ("addition_embed_type", "\"text_time\"", "needs addition_time_embed_dim"),
    ] {
        let folder = unet_folder("unet_sd1");
        let path = folder.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[field] = serde_json::from_str(value).unwrap();
        fs::write(&path, config.to_string()).unwrap();
        let message = message(folder.path());
        assert!(message.contains(expected), "{field}: {message}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let device = Device::default();
    let check = |case: &str, sample, times, context, added| {
        let folder = unet_folder(case);
        let model = UNet2DConditionModel::read(folder.path(), &device, DType::F32).unwrap();
        model.check(sample, times, context, added).map_err(|error| error.to_string())
    };
    let (sample, context) = ([2, 4, 5, 5], [2, 7, 24]);
    let sizes = Some(([2, 32], [2, 6]));
    assert_eq!(check("unet_sd1", sample, 1, context, None), Ok(()));
    assert_eq!(check("unet_sdxl", sample, 2, context, sizes), Ok(()));
    for (case, sample, times, context, added, name) in [
        ("unet_sd1", [2, 9, 5, 5], 1, context, None, "sample: "),
        ("unet_sd1", [2, 4, 0, 5], 1, context, None, "sample: "),
        ("unet_sd1", sample, 3, context, None, "timestep: "),
        ("unet_sd1", sample, 1, [2, 7, 25], None, "encoder_hidden_states: "),
        ("unet_sd1", sample, 1, [1, 7, 24], None, "encoder_hidden_states: "),
        ("unet_sd1", sample, 1, context, sizes, "text_embeds: is given"),
        ("unet_sdxl", sample, 1, context, None, "text_embeds: is missing"),
        ("unet_sdxl", sample, 1, context, Some(([2, 31], [2, 6])), "text_embeds: "),
        ("unet_sdxl", sample, 1, context, Some(([2, 32], [2, 5])), "time_ids: "),
    ] {
        let error = check(case, sample, times, context, added).unwrap_err();
        assert!(error.starts_with(name), "{error}");
    }
}
