use std::fs;

use burn::tensor::TensorData;

use crate::{Checkpoint, testing::Files};

fn write(files: &Files, name: &str, key: &str) {
    let folder = files.path(name);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    files.write(name, &[(key, TensorData::from([1.0f32, 2.0]))]);
}

#[test]
fn a_folder_is_its_weights() {
    let files = Files::new();
    for (name, wins) in [
        ("m/model.fp16.safetensors", true),
        ("m/diffusion_pytorch_model.safetensors", true),
        ("m/model.safetensors", false),
        ("m/adapter_model.safetensors", true),
        ("m/other.safetensors", false),
    ] {
        write(&files, name, name);
        let file = Checkpoint::open(files.path("m")).unwrap();
        assert_eq!(file.names() == [name], wins, "{name}: {:?}", file.names());
        assert!(file.path().is_file(), "what lies beside it is found");
    }
}

#[test]
fn a_pipeline_is_its_models() {
    let files = Files::new();
    write(&files, "p/unet/diffusion_pytorch_model.safetensors", "conv_in.weight");
    write(&files, "p/text_encoder/model.safetensors", "text_model.a.weight");
    write(&files, "p/vae/diffusion_pytorch_model.safetensors", "decoder.a.weight");
    let file = Checkpoint::open(files.path("p")).unwrap();
    assert_eq!(file.names(), ["unet.conv_in.weight", "text_encoder.text_model.a.weight"]);
    assert_eq!(file.path(), files.path("p"));
    let values: Vec<f32> = file.read("unet.conv_in.weight").unwrap().iter().collect();
    assert_eq!(values, [1.0, 2.0]);
}

#[test]
fn shards_are_one_file() {
    let files = Files::new();
    write(&files, "m/a-1.safetensors", "a");
    write(&files, "m/a-2.safetensors", "b");
    let index = files.path("m").join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"a": "a-1.safetensors", "b": "a-2.safetensors"}}"#)
        .unwrap();
    assert_eq!(Checkpoint::open(files.path("m")).unwrap().names(), ["a", "b"]);
    write(&files, "m/a-2.safetensors", "a");
    let message = Checkpoint::open(files.path("m")).unwrap_err().to_string();
    assert!(
        message.contains("a-1.safetensors") && message.contains("a-2.safetensors"),
        "{message}"
    );
    fs::write(&index, r#"{"weight_map": {"a": "../a-1.safetensors"}}"#).unwrap();
    let message = Checkpoint::open(files.path("m")).unwrap_err().to_string();
    assert!(message.ends_with("names a file outside its folder"), "{message}");
}
