//! `generate` and `unet`.

use std::fs;

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

    let image = higanbana_diffusion::pipeline::Pixels::read(&desk.path("lily.png")).unwrap();
    let image = image.tensor(&device);
    let file = higanbana_io::Checkpoint::open(folder("sd").join("expected.safetensors")).unwrap();
    let pixels = file.read_bytes("pixels").unwrap();
    let found: Vec<f32> = image.permute([0, 2, 3, 1]).into_data().iter().collect();
    let found = found.iter().map(|x| ((x + 1.0) * 127.5).round() as u8);
    assert!(pixels.iter().zip(found).all(|(a, b)| a.abs_diff(b) <= 1));

    let text = fs::read(desk.path("lily.png")).unwrap();
    let text = String::from_utf8_lossy(&text);
    let settings = "parameters\0a red spider lily in the rain, best quality\nNegative prompt: blurry\n\
                    Steps: 6, Sampler: PLMS, CFG scale: 7.5, Seed: 0, Size: 24x32, Model: model, Version: higanbana";
    assert!(text.contains(settings));

    for (arguments, expected) in [
        ("--steps 0", "steps: are 0"),
        ("--width 30 --height 32", "size: is 30x32"),
        ("--adapter nowhere.safetensors", "nowhere.safetensors"),
        ("--width 4000000000 --height 8", "size: is 4000000000x8, 1 times"),
        ("--guidance NaN", "guidance: is NaN"),
        ("--image nowhere.png", "nowhere.png: cannot be read (No such file or directory"),
    ] {
        let run = format!("generate --model model --prompt lily -o new.png {arguments}");
        let error = desk.run(&run).fails();
        assert!(error.contains(expected), "{error}");
    }
    for (arguments, expected) in [
        ("--scheduler dpm_fast", "there are ddpm, ddim"),
        ("--noise latents.safetensors --count 2", "--count: is 2; the noise is for 1 image"),
        ("--save-latents new.png", "--save-latents: is the image's file too"),
        ("--noise latents.safetensors --save-latents latents.safetensors", "is an input"),
        ("--count 70000", "70000"),
    ] {
        let run = format!("generate --model model --prompt lily -o new.png {arguments}");
        let error = desk.run(&run).is_misused();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!desk.listing().contains(&"new.png".to_string()));
}

#[test]
fn adapters_act_with_their_strengths_as_in_diffusers() {
    let (desk, device) = (Desk::new(), Device::default());
    write_pipeline("sdxl", &desk.path("model"));
    let noise = formula::tensor::<4>("pipeline noise", [1, 4, 8, 6], &device);
    desk.tensors("noise.safetensors", &[("latents", data(noise))]);
    for kind in ["kohya", "diffusers"] {
        let file = format!("sdxl.{kind}.safetensors");
        fs::copy(folder("loras").join(&file), desk.path(&file)).unwrap();
    }
    let mut command = std::process::Command::new(super::run::BINARY);
    let options = "generate --model model --steps 6 --noise noise.safetensors -o a.png \
                   --adapter sdxl.kohya.safetensors:0.7 --adapter sdxl.diffusers.safetensors:-0.4 \
                   --save-latents a.safetensors --prompt";
    let prompt = "a red spider lily in the rain, best quality";
    desk.command(command.args(options.split_whitespace()).arg(prompt)).succeeds();
    let found = desk.values("a.safetensors", "latents");
    let found: Vec<f32> = found.iter().map(|x| *x as f32).collect();
    let expected = Expected::open("loras/expected.safetensors").values("sdxl kohya diffusers");
    let off = deviation(&expected, &found);
    assert!(off <= 1e-3, "{off:.1e}");
    let text = fs::read(desk.path("a.png")).unwrap();
    let settings = format!("{prompt} <lora:sdxl.kohya:0.7> <lora:sdxl.diffusers:-0.4>\nSteps: 6");
    assert!(String::from_utf8_lossy(&text).contains(&settings));
}

#[test]
fn noise_of_the_steps_may_be_given_too() {
    let (desk, device) = (Desk::new(), Device::default());
    write_pipeline("sd", &desk.path("model"));
    let noise = |name: &str| formula::tensor::<4>(name, [1, 4, 8, 6], &device);
    let steps = (1..=6).map(|i| noise(&format!("pipeline noise {i}"))).collect();
    let steps: Tensor<5> = Tensor::stack(steps, 0);
    let tensors = [("latents", data(noise("pipeline noise"))), ("steps", data(steps))];
    desk.tensors("noise.safetensors", &tensors);
    let prompt = ["--prompt", "a red spider lily in the rain, best quality"];
    for name in ["ddpm", "euler_a", "lcm"] {
        let mut command = std::process::Command::new(super::run::BINARY);
        let options = format!(
            "generate --model model --steps 6 --scheduler {name} --noise noise.safetensors \
             --save-latents {name}.safetensors -o {name}.png"
        );
        desk.command(command.args(options.split_whitespace()).args(prompt)).succeeds();
        let found = desk.values(&format!("{name}.safetensors"), "latents");
        let found: Vec<f32> = found.iter().map(|x| *x as f32).collect();
        let off = deviation(&Expected::of("sd").values(&format!("{name} latents")), &found);
        assert!(off <= 1e-3, "{name}: {off:.1e}");
    }
}

#[test]
fn an_image_is_taken_up_again_in_tiles_and_in_half_precision() {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    let run = "generate --model model --prompt lily --steps 4";
    desk.run(&format!("{run} --width 40 --height 32 --count 2 -o a.png")).succeeds();
    let again = format!("{run} --image a-1.png --strength 0.5 --tile=16 --dtype bf16 -o b.png");
    assert!(desk.run(&again).succeeds().starts_with("b.png: 1 of 40x32, 4 steps"));
    let text = fs::read(desk.path("b.png")).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("Size: 40x32, Model: model, Denoising strength: 0.5, Version"), "{text}");
    assert_eq!(desk.listing(), ["a-1.png", "a-2.png", "b.png", "model"]);
    let error = desk.refusal(&format!("{run} --tile=20 -o c.png"));
    assert_eq!(error, "tile: is 20; give a multiple of 16 pixels");
    let error = desk.refusal(&format!("{run} --image model/model_index.json -o c.png"));
    assert!(error.starts_with("model/model_index.json: "), "{error}");
}
