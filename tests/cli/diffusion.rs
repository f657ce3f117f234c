//! `generate` and `unet`.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    formula,
    reference::{Expected, deviation, folder, unet_folder, write_pipeline},
    run::Desk,
};

fn data<const D: usize>(x: Tensor<D>) -> TensorData {
    x.into_data()
}

#[test]
fn one_call_of_a_unet_is_that_of_diffusers() {
    let (desk, device) = (Desk::new(), Device::default());
    let model = unet_folder("unet_sd1");
    let tensors = [
        ("sample", data(formula::tensor("sample 11x7", [2, 4, 11, 7], &device))),
        ("timestep", TensorData::from([981i64, 3])),
        ("encoder_hidden_states", data(formula::tensor("context 11x7", [2, 7, 24], &device))),
    ];
    desk.tensors("in.safetensors", &tensors);
    let model = model.path().display().to_string();
    let run = desk.run(&format!("unet --model {model} --input in.safetensors -o out.safetensors"));
    assert_eq!(run.succeeds(), "out.safetensors: out [2, 4, 11, 7]\n");
    let found: Vec<f32> = desk.values("out.safetensors", "out").iter().map(|x| *x as f32).collect();
    let off = deviation(&Expected::of("unet_sd1").values("out 11x7"), &found);
    assert!(off <= 1e-4, "{off:.1e}");

    // A missing tensor, a wrong shape, an existing output: nothing is written.
    desk.tensors("bad.safetensors", &tensors[..2]);
    let error = desk.run(&format!("unet --model {model} --input bad.safetensors -o new")).fails();
    assert!(error.contains("encoder_hidden_states"), "{error}");
    let error =
        desk.run(&format!("unet --model {model} --input in.safetensors -o out.safetensors"));
    assert!(error.fails().contains("out.safetensors"));
    let error = desk.run("unet --model nowhere --input in.safetensors -o new").fails();
    assert!(error.contains("nowhere"), "{error}");
    assert_eq!(desk.listing(), ["bad.safetensors", "in.safetensors", "out.safetensors"]);
}

#[test]
fn a_prompt_becomes_the_image_of_diffusers() {
    let (desk, device) = (Desk::new(), Device::default());
    write_pipeline("sd", &desk.path("model"));
    let noise = formula::tensor("pipeline noise", [1, 4, 8, 6], &device);
    desk.tensors("noise.safetensors", &[("latents", data(noise))]);
    let mut command = std::process::Command::new(super::run::BINARY);
    let run = desk.command(command.args([
        "generate",
        "--model",
        "model",
        "--prompt",
        "a red spider lily in the rain, best quality",
        "--negative",
        "blurry",
        "--steps",
        "6",
        "--noise",
        "noise.safetensors",
        "--save-latents",
        "latents.safetensors",
        "-o",
        "lily.png",
    ]));
    assert!(run.succeeds().starts_with("lily.png: 1 of 24x32, 6 steps, in "));
    let found = desk.values("latents.safetensors", "latents");
    let found: Vec<f32> = found.iter().map(|x| *x as f32).collect();
    let off = deviation(&Expected::of("sd").values("own latents"), &found);
    assert!(off <= 1e-3, "{off:.1e}");

    let image = higanbana_diffusion::pipeline::from_image(&desk.path("lily.png"), &device).unwrap();
    let file = higanbana_io::Checkpoint::open(folder("sd").join("expected.safetensors")).unwrap();
    let pixels = file.read_bytes("pixels").unwrap();
    let found: Vec<f32> = image.permute([0, 2, 3, 1]).into_data().iter().collect();
    let found = found.iter().map(|x| ((x + 1.0) * 127.5).round() as u8);
    assert!(pixels.iter().zip(found).all(|(a, b)| a.abs_diff(b) <= 1));

    let text = std::fs::read(desk.path("lily.png")).unwrap();
    let text = String::from_utf8_lossy(&text);
    let settings = "parameters\0a red spider lily in the rain, best quality\nNegative prompt: blurry\n\
                    Steps: 6, Sampler: the model's own, CFG scale: 7.5, Seed: 0, Size: 24x32, Model: model, Version: higanbana";
    assert!(text.contains(settings));

    for (arguments, expected) in [
        ("--steps 0", "steps: are 0"),
        ("--width 30 --height 32", "size: is 30x32"),
        ("--adapter nowhere.safetensors", "nowhere.safetensors"),
    ] {
        let run = format!("generate --model model --prompt lily -o new.png {arguments}");
        let error = desk.run(&run).fails();
        assert!(error.contains(expected), "{error}");
    }
    for (arguments, expected) in [
        ("--scheduler heun", "there are ddpm, ddim"),
        ("--noise latents.safetensors --count 2", "cannot be used with"),
    ] {
        let run = format!("generate --model model --prompt lily -o new.png {arguments}");
        let error = desk.run(&run).is_misused();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!desk.listing().contains(&"new.png".to_string()));
}
