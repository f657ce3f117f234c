//! Models and inputs of `generate` that are not what they should be.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use burn::tensor::{Device, Tensor, TensorData};
use higanbana_io::{Checkpoint, writer::write_tensors};

use super::{
    reference::write_pipeline,
    run::{BINARY, Desk},
};

/// Does something to a model folder.
type Break<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_wrong_with_a_model_is_said_in_one_line() {
    let (desk, device) = (Desk::new(), Device::default());
    let weights = "diffusion_pytorch_model.safetensors";
    let refusal = |break_it: Break, options: &str| {
        let model = desk.path("model");
        let _ = fs::remove_dir_all(&model);
        write_pipeline("sd", &model);
        break_it(&model);
        desk.refusal(&format!("generate --model model --prompt lily -o new.png {options}"))
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |model: &Path| {
            let text = fs::read_to_string(model.join(file)).unwrap();
            assert!(text.contains(from));
            fs::write(model.join(file), text.replace(from, to)).unwrap();
        }
    };
    let remove = |file: &'static str| {
        move |model: &Path| {
            fs::remove_file(model.join(file)).unwrap();
        }
    };
    let set = |file: &'static str, key: &'static str, value: f32| {
        move |model: &Path| {
            let path = model.join(file);
            let read = Checkpoint::open(&path).unwrap();
            let mut tensors: BTreeMap<String, TensorData> =
                read.names().iter().map(|k| (k.clone(), read.read(k).unwrap())).collect();
            let shape = tensors[key].shape().clone();
            let values = vec![value; shape.num_elements()];
            tensors.insert(key.into(), TensorData::new(values, shape));
            write_tensors(&path, &tensors, &Default::default(), true).unwrap();
        }
    };
    let shards = |model: &Path| {
        let unet = model.join("unet");
        let bytes = fs::read(unet.join(weights)).unwrap();
        fs::remove_file(unet.join(weights)).unwrap();
        let (index, shard) = ("diffusion_pytorch_model.safetensors.index.json", "a-1.safetensors");
        fs::write(unet.join(index), format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#)).unwrap();
        fs::write(unet.join(shard), &bytes[..bytes.len() - 9]).unwrap();
    };
    let nothing = |_: &Path| ();
    let huge = Tensor::<4>::full([1, 4, 8, 6], 1e38, &device);
    desk.tensors("huge.safetensors", &[("latents", huge.into_data())]);
    let nan = Tensor::<4>::full([1, 4, 8, 6], f32::NAN, &device);
    desk.tensors("nan.safetensors", &[("latents", nan.into_data())]);
    desk.tensors("other.safetensors", &[("noise", TensorData::from([1.0f32]))]);
    let cases: [(Break, &str, &str); 16] = [
        (&remove("model_index.json"), "", "model/model_index.json: cannot be read"),
        (&remove("unet/config.json"), "", "model/unet/config.json: cannot be read"),
        (&remove("scheduler/scheduler_config.json"), "", "scheduler_config.json: cannot be read"),
        (&remove("tokenizer/vocab.json"), "", "model/tokenizer/vocab.json: cannot be read"),
        (&remove("tokenizer/merges.txt"), "", "model/tokenizer/merges.txt: cannot be read"),
        (
            &remove("vae/diffusion_pytorch_model.safetensors"),
            "",
            "model/vae: is a directory without weights",
        ),
        (
            &replace("unet/config.json", "UNet2DConditionModel", "UNetMotionModel"),
            "",
            "config.json: is the configuration of a UNetMotionModel; UNet2DConditionModel is",
        ),
        (
            &replace("scheduler/scheduler_config.json", "PNDMScheduler", "DEISMultistepScheduler"),
            "",
            "scheduler: the model's own, \"DEISMultistepScheduler\", is not built; choose ddpm",
        ),
        (&shards, "", "model/unet/a-1.safetensors: is truncated"),
        (
            &set("unet/diffusion_pytorch_model.safetensors", "conv_out.bias", f32::NAN),
            "",
            "\"conv_out.bias\" is NaN",
        ),
        (
            &set("unet/diffusion_pytorch_model.safetensors", "conv_out.bias", 3e38),
            "--steps 3",
            "latents: are no longer finite after step 1 of 4, at the time",
        ),
        (&nothing, "--noise huge.safetensors", "latents: are no longer finite after step 1 of "),
        (&nothing, "--noise nan.safetensors", "\"latents\" is NaN"),
        (&nothing, "--noise other.safetensors", "latents"),
        (&nothing, "--width 0 --height 32", "size: is 0x32; give multiples of 4, 4 at least"),
        (&nothing, "--clip-skip 9", "clip skip: is 9; the text encoder has 3 layers"),
    ];
    for (break_it, options, expected) in cases {
        let error = refusal(break_it, options);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let long = "lily ".repeat(8000);
    let mut command = Command::new(BINARY);
    let options = ["generate", "--model", "model", "--prompt", &long, "-o", "new.png"];
    let error = desk.command(command.args(options)).fails();
    assert!(error.starts_with("prompt: is ") && error.ends_with("; 7500 at most"), "{error}");
}
