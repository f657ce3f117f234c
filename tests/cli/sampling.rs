//! `generate`: what the web UI's prompts and habits need.

use std::fs;

use burn::tensor::{Device, Tensor};
use higanbana_diffusion::pipeline::Pixels;

use super::{
    formula,
    reference::{Expected, deviation, folder, write_pipeline},
    run::{BINARY, Desk, Run},
};

const PROMPT: &str = "a red spider lily in the rain, best quality";

/// A model and noise for it.
fn desk(case: &str) -> Desk {
    let desk = Desk::new();
    write_pipeline(case, &desk.path("model"));
    let noise: Tensor<4> = formula::tensor("pipeline noise", [1, 4, 8, 6], &Device::default());
    desk.tensors("noise.safetensors", &[("latents", noise.into_data())]);
    desk
}

fn generate(desk: &Desk, prompt: &str, options: &str) -> Run {
    let mut command = std::process::Command::new(BINARY);
    command.args(["generate", "--model", "model", "--prompt", prompt]);
    desk.command(command.args(options.split_whitespace()))
}

fn text(desk: &Desk, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(desk.path(name)).unwrap()).into_owned()
}

fn latents(desk: &Desk, name: &str) -> Vec<f32> {
    desk.values(name, "latents").iter().map(|x| *x as f32).collect()
}

#[test]
fn adapters_that_a_prompt_names_act_as_in_diffusers() {
    let desk = desk("sd");
    fs::create_dir_all(desk.path("adapters/mine")).unwrap();
    let kohya = folder("loras").join("sd.kohya.safetensors");
    fs::copy(kohya, desk.path("adapters/mine/style.safetensors")).unwrap();
    let options = "--steps 6 --noise noise.safetensors --adapter-dir adapters -o a.png \
                   --save-latents a.safetensors";
    let prompt = format!("{PROMPT}<lora:style:0.7>");
    generate(&desk, &prompt, options).succeeds();
    let expected = Expected::open("loras/expected.safetensors");
    let off = deviation(&expected.values("sd kohya"), &latents(&desk, "a.safetensors"));
    assert!(off <= 1e-3, "{off:.1e}");
    // The prompt stands in the file as it was written.
    assert!(text(&desk, "a.png").contains(&format!("parameters\0{prompt}\nSteps: 6")));

    let weights = "lbw=1,0.9,0,0,0,0,0,-0.5,0,0,0,0,0,0,0,0,0";
    let prompt = format!("<lyco:style:0.3:1:{weights}>{PROMPT}");
    generate(&desk, &prompt, &format!("{options} --overwrite")).succeeds();
    let off = deviation(&expected.values("sd parts"), &latents(&desk, "a.safetensors"));
    assert!(off <= 1e-3, "{off:.1e}");

    let style = format!("--adapter adapters/mine/style.safetensors:te=0.3:{weights}");
    generate(&desk, PROMPT, &format!("{options} {style} --overwrite")).succeeds();
    let off = deviation(&expected.values("sd parts"), &latents(&desk, "a.safetensors"));
    assert!(off <= 1e-3, "{off:.1e}");
    let named = format!("{PROMPT} <lora:style:0.3:1:{weights}>\nSteps: 6");
    assert!(text(&desk, "a.png").contains(&named));

    let before = desk.listing();
    for (prompt, options, expected) in [
        (
            "<lora:style:0.7>",
            "-o b.png",
            "needs the folder that holds style; give --adapter-dir DIR",
        ),
        (
            "<lora:stile>",
            "-o b.png --adapter-dir adapters",
            "no adapter called stile; it has style",
        ),
        ("<lora:style>", "-o b.png --adapter-dir nowhere", "--adapter-dir: nowhere cannot be read"),
        ("<hypernet:x>", "-o b.png", "--prompt: <hypernet:x> is nothing that is read"),
        ("a", "-o b.png --negative <lora:style>", "negative prompt: has <lora:style>"),
        ("a", "-o b.png --negative AND", "negative prompt: has AND"),
        ("(a BREAK b)", "-o b.png", "prompt: BREAK stands in brackets"),
    ] {
        let error = generate(&desk, prompt, options).fails();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(desk.listing(), before);
}

#[test]
fn a_drawn_seed_is_said_and_makes_the_image_again() {
    let desk = desk("sd");
    let made = generate(&desk, PROMPT, "--steps 1 --seed -1 -o a.png --save-latents a.safetensors");
    let said = made.succeeds();
    let (_, seed) = said.split_once("1 steps, seed ").unwrap();
    let seed = seed.split(',').next().unwrap();
    assert!(text(&desk, "a.png").contains(&format!("Seed: {seed}, Size")));
    let again = format!("--steps 1 --seed {seed} -o b.png --save-latents b.safetensors");
    assert!(!generate(&desk, PROMPT, &again).succeeds().contains("seed"));
    assert_eq!(latents(&desk, "a.safetensors"), latents(&desk, "b.safetensors"));
    let other = generate(&desk, PROMPT, "--steps 1 --seed -1 -o c.png").succeeds();
    assert!(!other.contains(seed), "{other}");
    let error = generate(&desk, PROMPT, "--seed -2 -o d.png").is_misused();
    assert!(error.contains("--seed"), "{error}");
}

#[test]
fn an_image_has_the_format_of_its_name() {
    let desk = desk("sd");
    let options = "--steps 1 --noise noise.safetensors -o";
    for name in ["a.png", "a.WebP", "a"] {
        generate(&desk, "a lily", &format!("{options} {name}")).succeeds();
    }
    let pixels = ["a.png", "a.WebP", "a"].map(|name| Pixels::read(&desk.path(name)).unwrap());
    assert!(pixels.iter().all(|other| *other == pixels[0]));
    assert!(fs::read(desk.path("a.WebP")).unwrap().starts_with(b"RIFF"));
    let wide: Vec<u8> = "a lily\nSteps: 1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let file = fs::read(desk.path("a.WebP")).unwrap();
    assert!(file.windows(wide.len()).any(|bytes| bytes == wide));
    generate(&desk, "a lily", &format!("{options} a.jpg")).succeeds();
    let file = fs::read(desk.path("a.jpg")).unwrap();
    assert!(file.starts_with(b"\xff\xd8\xff\xe1"));
    assert!(file.windows(wide.len()).any(|bytes| bytes == wide));
    let jpeg = Pixels::read(&desk.path("a.jpg")).unwrap();
    assert_eq!(jpeg.size, pixels[0].size);
    let errors = jpeg.rgb.iter().zip(&pixels[0].rgb).map(|(a, b)| u32::from(a.abs_diff(*b)));
    assert!(errors.sum::<u32>() < 4 * jpeg.rgb.len() as u32);
    for name in ["b.gif", "b.avif"] {
        let error = desk.misuse(&format!("generate --model model --prompt a {options} {name}"));
        let expected =
            format!("--output: {name}: images are written as .png, .jpg or, without loss, .webp");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_size_may_be_said_again() {
    let desk = desk("sd");
    let noise = "--steps 1 --noise noise.safetensors --overwrite -o a.png";
    for agrees in ["--width 24 --height 32", "--count 1", "--width 24 --height 32 --count 1"] {
        generate(&desk, "a", &format!("{noise} {agrees}")).succeeds();
    }
    let image = "--steps 2 --image a.png -o b.png";
    generate(&desk, "a", &format!("{image} --width 24 --height 32")).succeeds();
    let error = generate(&desk, "a", &format!("{noise} --width 32 --height 32")).fails();
    assert_eq!(error, "size: is 32x32; the noise is of 24x32");
    let error = generate(&desk, "a", &format!("{image} --overwrite --width 24")).fails();
    assert_eq!(error, "size: is 24x24; the image is of 24x32");
    let error = generate(&desk, "a", &format!("{noise} --count 2")).is_misused();
    assert!(error.contains("--count: is 2; the noise is for 1 image"), "{error}");
}

#[test]
fn levels_of_noise_are_spread_as_asked() {
    let desk = desk("sd");
    let run = |options: &str| {
        let noise = "--steps 4 --noise noise.safetensors --overwrite --save-latents a.safetensors";
        generate(&desk, "a", &format!("{noise} -o a.png {options}")).succeeds();
        latents(&desk, "a.safetensors")
    };
    let plain = run("--scheduler dpmpp_2m");
    let karras = run("--scheduler dpmpp_2m --sigmas karras");
    assert!(text(&desk, "a.png").contains("Sampler: DPM++ 2M, Schedule type: Karras, CFG scale"));
    assert_ne!(plain, karras);
    assert_eq!(run("--scheduler dpmpp_2m_karras"), karras);
    run("--scheduler heun --sigmas exponential");
    assert!(text(&desk, "a.png").contains("Sampler: Heun, Schedule type: Exponential"));
    let options = "generate --model model --prompt a -o b.png --sigmas";
    assert!(desk.misuse(&format!("{options} odd")).contains("karras, exponential, beta"));
    let error = desk.refusal(&format!("{options} beta --scheduler ddim"));
    assert!(error.starts_with("sigmas: are those of ddim; they are free for euler"), "{error}");
}
