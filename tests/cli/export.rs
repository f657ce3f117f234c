//! `export`: a model in the other layout.

use std::{fs, path::Path};

use burn::tensor::Device;
use higanbana_diffusion::{CLIPTextModel, ClipConfig, UNet2DConditionModel, UNetConfig};
use serde_json::{Value, json};

use super::{
    formula::{self, write_weights},
    reference::write_pipeline,
    run::Desk,
};

/// Writes a model folder of SD 1's modules, as narrow as can be: it has a form as a single file.
fn write_sd1(to: &Path) {
    write_pipeline("sd", to);
    let rewrite = |name: &str, values: Value| {
        let path = to.join(name);
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (Value::Object(config), Value::Object(values)) = (&mut config, values) else {
            panic!("configurations are objects")
        };
        config.extend(values);
        fs::write(&path, Value::Object(config.clone()).to_string()).unwrap();
        path
    };
    let config = rewrite(
        "unet/config.json",
        json!({
            "block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4, "layers_per_block": 2,
            "attention_head_dim": 2, "cross_attention_dim": 768,
            "down_block_types": [
                "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D",
            ],
            "up_block_types": [
                "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
            ],
        }),
    );
    let device = Device::default();
    let unet = UNet2DConditionModel::new(&UNetConfig::read(&config).unwrap(), &device);
    write_weights(&unet, &config.with_file_name("diffusion_pytorch_model.safetensors"));
    let config = rewrite(
        "text_encoder/config.json",
        json!({ "hidden_size": 768, "intermediate_size": 16, "num_hidden_layers": 1 }),
    );
    let clip = CLIPTextModel::new(&ClipConfig::read(&config).unwrap(), &device);
    write_weights(&clip, &config.with_file_name("model.safetensors"));
}

#[test]
fn a_model_goes_into_the_other_layout_and_back() {
    let (desk, device) = (Desk::new(), Device::default());
    write_sd1(&desk.path("model"));
    let run = desk.run("export model -o single.safetensors");
    assert_eq!(run.succeeds(), "single.safetensors: SD 1 as a single file\n");
    let run = desk.run("export single.safetensors --config model -o back");
    assert_eq!(run.succeeds(), "back: SD 1 as a directory\n");
    for file in [
        "unet/config.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
    ] {
        let bytes = |folder: &str| fs::read(desk.path(folder).join(file)).unwrap();
        assert!(bytes("model") == bytes("back"), "{file}");
    }
    for file in
        ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"]
    {
        let [before, after] =
            ["model", "back"].map(|folder| desk.open(&format!("{folder}/{file}.safetensors")));
        assert_eq!(before.names(), after.names());
        let same =
            |name: &String| before.read_bytes(name).unwrap() == after.read_bytes(name).unwrap();
        assert!(before.names().iter().all(same), "{file}");
    }

    // The single file generates what the directory does.
    let noise = formula::tensor::<4>("pipeline noise", [1, 4, 8, 8], &device);
    desk.tensors("noise.safetensors", &[("latents", noise.into_data())]);
    let generate = |model: &str, name: &str| {
        let options = "--prompt lily --steps 2 --noise noise.safetensors";
        let out = format!("--save-latents {name}.safetensors -o {name}.png");
        desk.run(&format!("generate --model {model} {options} {out}")).succeeds();
        desk.values(&format!("{name}.safetensors"), "latents")
    };
    let found = generate("single.safetensors --config model", "a");
    assert_eq!(found, generate("model", "b"));

    desk.run("export model -o half.safetensors --dtype f16").succeeds();
    let (half, single) = (desk.open("half.safetensors"), desk.open("single.safetensors"));
    assert_eq!(half.names(), single.names());
    let infos = half.names().iter().map(|name| half.info(name).unwrap().dtype);
    assert!(infos.into_iter().all(|dtype| dtype == higanbana_io::Dtype::F16));

    write_pipeline("sd", &desk.path("other"));
    write_pipeline("sdxl", &desk.path("xl"));
    for (arguments, expected) in [
        ("model -o single.safetensors", "single.safetensors: exists"),
        ("single.safetensors --config model -o back", "back: exists"),
        ("other -o new", "other: is none of SD 1, SD 2 and SDXL"),
        ("noise.safetensors -o new", "noise.safetensors: is no model file of Stable Diffusion"),
        ("single.safetensors --config nowhere -o new", "nowhere/text_encoder/config.json: "),
        ("single.safetensors --config xl -o new", "xl: has 2 text encoders, the file 1"),
        ("nowhere -o new", "nowhere/text_encoder/config.json: "),
    ] {
        let error = desk.refusal(&format!("export {arguments}"));
        assert!(error.contains(expected), "{error}");
    }
    desk.misuse("export model --config model -o new");
    // The published model is larger: every tensor that does not fit is listed.
    let before = desk.listing();
    let error = desk.run("export single.safetensors -o new").err();
    assert!(error.contains("tensors do not fit the model\n  conv_in.bias is [8]"), "{error}");
    assert_eq!(desk.listing(), before);
}
