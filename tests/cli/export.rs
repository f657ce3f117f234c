//! `export`: a model in the other layout.

use std::{collections::BTreeSet, fs, path::Path};

use burn::tensor::Device;
use higanbana_diffusion::{CLIPTextModel, ClipConfig, UNet2DConditionModel, UNetConfig};
use higanbana_io::Checkpoint;
use serde_json::{Value, json};

use super::{
    formula::{self, write_weights},
    reference::write_pipeline,
    run::Desk,
};

/// Writes a model folder of a family's modules, as narrow as can be: it has a form as a single file.
fn write_model(family: &str, to: &Path) {
    write_pipeline(if family == "SDXL" { "sdxl" } else { "sd" }, to);
    let rewrite = |name: &str, values: Value| {
        let path = to.join(name).join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (Value::Object(config), Value::Object(values)) = (&mut config, values) else {
            panic!("configurations are objects")
        };
        config.extend(values);
        fs::write(&path, Value::Object(config.clone()).to_string()).unwrap();
        path
    };
    let device = Device::default();
    let unet = |values: Value| {
        let config = rewrite("unet", values);
        let unet = UNet2DConditionModel::new(&UNetConfig::read(&config).unwrap(), &device);
        write_weights(&unet, &config.with_file_name("diffusion_pytorch_model.safetensors"));
    };
    let encoder = |name: &str, values: Value| {
        let config = rewrite(name, values);
        let clip = CLIPTextModel::new(&ClipConfig::read(&config).unwrap(), &device);
        write_weights(&clip, &config.with_file_name("model.safetensors"));
    };
    if family == "SDXL" {
        // Files are told by a layer of the second encoder that no small one has.
        encoder("text_encoder_2", json!({ "num_hidden_layers": 10 }));
        return unet(json!({ "layers_per_block": 2 }));
    }
    let linear = family == "SD 2";
    let width = if linear { 1024 } else { 768 };
    let act = if linear { "gelu" } else { "quick_gelu" };
    encoder(
        "text_encoder",
        json!({
            "hidden_size": width, "intermediate_size": 16, "num_hidden_layers": 1, "hidden_act": act,
        }),
    );
    unet(json!({
        "block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4, "layers_per_block": 2,
        "attention_head_dim": 2, "cross_attention_dim": width, "use_linear_projection": linear,
        "down_block_types": [
            "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D",
        ],
        "up_block_types": [
            "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
        ],
    }));
}

#[test]
fn every_family_goes_into_the_other_layout_and_back() {
    for family in ["SD 1", "SD 2", "SDXL"] {
        let (desk, device) = (Desk::new(), Device::default());
        write_model(family, &desk.path("model"));
        let run = desk.run("export model -o single.safetensors");
        assert_eq!(run.succeeds(), format!("single.safetensors: {family} as a single file\n"));
        let run = desk.run("export single.safetensors --config model -o back");
        assert_eq!(run.succeeds(), format!("back: {family} as a directory\n"));
        let files = |folder: &str| {
            let mut files = Vec::new();
            for part in fs::read_dir(desk.path(folder)).unwrap() {
                let part = part.unwrap().path();
                let within = fs::read_dir(&part).into_iter().flatten();
                files.extend(within.map(|file| file.unwrap().path()));
                files.extend(part.is_file().then_some(part));
            }
            let root = desk.path(folder);
            let names = files.iter().map(|file| file.strip_prefix(&root).unwrap().to_owned());
            names.collect::<BTreeSet<_>>()
        };
        assert_eq!(files("model"), files("back"));
        for file in files("model") {
            let [before, after] = ["model", "back"].map(|folder| desk.path(folder).join(&file));
            if file.extension() != Some("safetensors".as_ref()) {
                assert!(
                    fs::read(before).unwrap() == fs::read(after).unwrap(),
                    "{}",
                    file.display()
                );
                continue;
            }
            let [before, after] = [before, after].map(|path| Checkpoint::open(path).unwrap());
            assert_eq!(before.names(), after.names());
            let same =
                |name: &String| before.read_bytes(name).unwrap() == after.read_bytes(name).unwrap();
            assert!(before.names().iter().all(same), "{}", file.display());
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
        assert_eq!(found, generate("model", "b"), "{family}");
    }
}

#[test]
fn an_export_changes_precision_and_refuses_what_it_cannot() {
    let (desk, device) = (Desk::new(), Device::default());
    write_model("SD 1", &desk.path("model"));
    desk.run("export model -o single.safetensors").succeeds();
    desk.run("export single.safetensors --config model -o back").succeeds();
    let noise = formula::tensor::<4>("pipeline noise", [1, 4, 8, 8], &device);
    desk.tensors("noise.safetensors", &[("latents", noise.into_data())]);

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
    // The published model is larger: the first tensors that do not fit are listed, the others counted.
    let before = desk.listing();
    let error = desk.refusal("export single.safetensors -o new");
    assert!(error.contains("tensors do not fit the model: conv_in.bias is [8]"), "{error}");
    assert_eq!(desk.listing(), before);
}
