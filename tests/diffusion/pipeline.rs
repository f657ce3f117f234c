//! Whole pipelines against diffusers, and what adapter files do on them.

use std::fs;

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_adapters::{
    inject::{self, Injection},
    registry,
};
use higanbana_diffusion::{
    CLIPTextModel, Pipeline, Request,
    pipeline::{Generated, to_pixels},
    text::Tokenizer,
};
use higanbana_io::Checkpoint;

use super::{
    formula,
    reference::{Expected, deviation, folder, pipeline_folder, write_unet},
};

fn pipeline(case: &str, device: &Device) -> Pipeline {
    Pipeline::read(pipeline_folder(case).path(), device, DType::F32).unwrap()
}

/// The request of the reference script.
fn request(device: &Device) -> Request {
    Request {
        prompt: "a red spider lily in the rain, best quality".into(),
        steps: 6,
        noise: vec![formula::tensor("pipeline noise", [1, 4, 8, 6], device)],
        ..Request::default()
    }
}

fn run(pipeline: &Pipeline, request: &Request) -> Generated {
    pipeline.generate(request, &mut |_, _| ()).unwrap()
}

#[test]
fn six_steps_are_those_of_diffusers() {
    let device = Device::default();
    for case in ["sd", "sdxl"] {
        let pipeline = pipeline(case, &device);
        let expected = Expected::of(case);
        let blurry = || Request { negative: Some("blurry".into()), ..request(&device) };
        let with =
            |name: &str, request: Request| Request { scheduler: Some(name.into()), ..request };
        let requests = [
            ("own", blurry()),
            ("ddim", with("ddim", blurry())),
            (
                "dpmpp_2m_karras",
                Request { guidance_rescale: 0.7, ..with("dpmpp_2m_karras", request(&device)) },
            ),
            ("unipc", Request { clip_skip: 1, ..with("unipc", request(&device)) }),
            ("euler", Request { guidance: 1.0, ..with("euler", request(&device)) }),
        ];
        for (name, request) in requests {
            let generated = run(&pipeline, &request);
            let off = expected.check(&format!("{name} latents"), generated.latents, 1e-3);
            println!("{case} {name}: {off:.1e}");
            if name == "own" {
                let pixels: Vec<u8> = Checkpoint::open(folder(case).join("expected.safetensors"))
                    .unwrap()
                    .read_bytes("pixels")
                    .unwrap();
                let found = to_pixels(generated.images.clone()).concat();
                let off = expected.check("image", generated.images, 1e-3);
                let most = pixels.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(most <= Some(1), "{most:?}");
                println!("{case} image: {off:.1e}, pixels {most:?}");
            }
        }
    }
}

/// The noise of the begin, and as much as the steps draw.
fn drawn(draws: usize, device: &Device) -> Vec<Tensor<4>> {
    let names = (1..=draws).map(|i| format!("pipeline noise {i}"));
    let names = std::iter::once("pipeline noise".into()).chain(names);
    names.map(|name: String| formula::tensor(&name, [1, 4, 8, 6], device)).collect()
}

#[test]
fn every_scheduler_leads_to_the_latents_of_diffusers() {
    let device = Device::default();
    let pipeline = pipeline("sd", &device);
    let expected = Expected::of("sd");
    for name in ["ddpm", "pndm", "euler_a", "dpmpp_2m", "lcm", "heun", "dpmpp_2m_sde"] {
        let (scheduler, noise) = (Some(name.to_string()), drawn(6, &device));
        let generated = run(&pipeline, &Request { scheduler, noise, ..request(&device) });
        let off = expected.check(&format!("{name} latents"), generated.latents, 1e-3);
        println!("{name}: {off:.1e}");
    }
}

#[test]
fn an_image_is_taken_up_as_diffusers_takes_it_up() {
    let device = Device::default();
    let pipeline = pipeline("sd", &device);
    let expected = Expected::of("img2img");
    let unit: Vec<f32> =
        formula::scaled("picture", [32 * 24 * 3], 1.0, &device).into_data().iter().collect();
    let pixels = unit.iter().map(|u| ((u + 1.0) * 128.0).floor() / 127.5 - 1.0).collect::<Vec<_>>();
    let image = Tensor::<3>::from_data(TensorData::new(pixels, [32, 24, 3]), &device);
    let image: Tensor<4> = image.permute([2, 0, 1]).unsqueeze();
    for name in ["pndm", "ddim", "euler", "heun"] {
        let (scheduler, image) = (Some(name.to_string()), Some((image.clone(), 0.5)));
        let generated = run(&pipeline, &Request { scheduler, image, ..request(&device) });
        let off = expected.check(&format!("{name} latents"), generated.latents, 1e-3);
        println!("{name}: {off:.1e}");
    }
}

#[test]
fn a_model_of_lcms_is_told_the_guidance_scale() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    write_unet("lcm", folder.path());
    let pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let request = Request {
        scheduler: Some("lcm".into()),
        steps: 4,
        guidance: 8.0,
        noise: drawn(4, &device),
        ..request(&device)
    };
    let generated = run(&pipeline, &request);
    println!("{:.1e}", Expected::of("lcm").check("latents", generated.latents, 1e-3));
}

#[test]
fn seeds_make_images_that_do_not_depend_on_their_batch() {
    let device = Device::default();
    let pipeline = pipeline("sd", &device);
    let request = |seed, count| Request {
        steps: 2,
        seed,
        count,
        size: Some([16, 24]),
        noise: Vec::new(),
        scheduler: Some("euler_a".into()),
        ..request(&device)
    };
    let values = |x: Tensor<4>| -> Vec<f32> { x.into_data().iter().collect() };
    let both = run(&pipeline, &request(5, 2)).latents;
    assert_eq!(both.dims(), [2, 4, 4, 6]);
    for (index, seed) in [(0, 5), (1, 6)] {
        let one = values(run(&pipeline, &request(seed, 1)).latents);
        let off = deviation(&one, &values(both.clone().narrow(0, index, 1)));
        assert!(off < 1e-5, "{off:.1e}");
    }
}

#[test]
fn an_image_is_taken_up_again() {
    let device = Device::default();
    let pipeline = pipeline("sd", &device);
    let image = formula::scaled("picture", [1, 3, 34, 24], 1.0, &device);
    let mut steps = Vec::new();
    let request = Request { image: Some((image, 0.5)), noise: Vec::new(), ..request(&device) };
    let request = Request { scheduler: Some("ddim".into()), ..request };
    let generated = pipeline.generate(&request, &mut |made, of| steps.push((made, of))).unwrap();
    assert_eq!(steps, [(1, 3), (2, 3), (3, 3)]);
    assert_eq!(generated.images.dims(), [1, 3, 32, 24]);
    let nothing = Request { image: Some((generated.images, 0.1)), ..request };
    let error = pipeline.generate(&nothing, &mut |_, _| ()).unwrap_err().to_string();
    assert_eq!(error, "strength: 0.1 leaves none of 6 steps");
}

#[test]
fn long_prompts_and_weights_act() {
    let device = Device::default();
    let pipeline = pipeline("sdxl", &device);
    let encode = |text: &str| pipeline.encode(&[(text, 0), ("", 0)]).unwrap();
    let short = encode("a red lily").swap_remove(0);
    assert_eq!(short.context.dims(), [1, 77, 40]);
    assert_eq!(short.nothing().context.abs().sum().into_scalar::<f32>(), 0.0);
    let text = "lily ".repeat(80);
    let tokens = Tokenizer::read(&folder("tokenizer")).unwrap().tokens(&text).unwrap().len();
    let [long, other] = &encode(&text)[..] else { panic!("two texts") };
    assert_eq!(long.context.dims()[1], 77 * tokens.div_ceil(75));
    assert_eq!(long.context.dims(), other.context.dims());
    let values = |x: Tensor<3>| -> Vec<f32> { x.into_data().iter().collect() };
    let plain = values(short.context.clone());
    let weighted = values(encode("a (red:1.5) lily")[0].context.clone());
    let unchanged = values(encode("a (red:1.0) lily")[0].context.clone());
    assert!(deviation(&plain, &weighted) > 1e-2);
    assert_eq!(plain, unchanged);
    let mean = |x: &[f32]| x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    assert!((mean(&plain) - mean(&weighted)).abs() < 1e-4);
}

#[test]
fn what_is_wrong_is_named() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    let pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let message =
        |request: Request| pipeline.generate(&request, &mut |_, _| ()).unwrap_err().to_string();
    let seed = || Request { noise: Vec::new(), ..request(&device) };
    let error = message(Request { size: Some([30, 24]), ..seed() });
    assert_eq!(error, "size: is 24x30; give multiples of 4, 4 at least");
    assert_eq!(
        message(Request { count: 0, ..seed() }),
        "count: is 0; at least one image is needed"
    );
    let error = message(Request { clip_skip: 3, ..seed() });
    assert_eq!(error, "clip skip: is 3; the text encoder has 3 layers");
    let noise = Tensor::<4>::zeros([1, 3, 8, 6], &device);
    let error = message(Request { noise: vec![noise], ..seed() });
    assert_eq!(error, "noise: is [1, 3, 8, 6]; [1, 4, 8, 6] is needed");
    let noise = Tensor::<4>::full([1, 4, 8, 6], f32::NAN, &device);
    assert_eq!(message(Request { noise: vec![noise], ..seed() }), "noise: is not finite");
    let noise = Tensor::<4>::full([1, 4, 8, 6], 1e38, &device);
    let error = message(Request { noise: vec![noise], ..seed() });
    assert!(error.starts_with("latents: are no longer finite after step 1 of 7"), "{error}");

    let error = message(Request { prompt: "lily ".repeat(8000), ..seed() });
    assert!(error.starts_with("prompt: is ") && error.ends_with("; 7500 at most"), "{error}");

    let read = || Pipeline::read(folder.path(), &device, DType::F32).unwrap_err().to_string();
    fs::remove_file(folder.path().join("tokenizer/merges.txt")).unwrap();
    assert!(read().contains("merges.txt: cannot be read"), "{}", read());
    fs::write(folder.path().join("model_index.json"), r#"{"_class_name": "FluxPipeline"}"#)
        .unwrap();
    assert!(read().contains("is the configuration of a FluxPipeline"));
}

#[test]
fn the_own_scheduler_is_revised_where_its_file_is_old() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    let scheduler = folder.path().join("scheduler/scheduler_config.json");
    let silent = r#"{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "set_alpha_to_one": false}"#;
    fs::write(scheduler, silent).unwrap();
    let pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let blurry = || Request { negative: Some("blurry".into()), ..request(&device) };
    // With an offset of 1 and without a range: what "ddim" is from the file that says so.
    let generated = run(&pipeline, &blurry());
    Expected::of("sd").check("ddim latents", generated.latents, 1e-3);
    // By its name it is what the file says: nothing is larger than 1.
    let named = run(&pipeline, &Request { scheduler: Some("ddim".into()), ..blurry() });
    let largest: f32 = named.latents.abs().max().into_scalar();
    assert!(largest < 1.1, "{largest}");
}

#[test]
fn a_new_adapter_changes_no_text() {
    let device = Device::default();
    let pipeline = pipeline("sd", &device);
    let model = &pipeline.encoders[0].model;
    let texts = vec![vec![2512, 5, 7, 2513]];
    let last = |model: &CLIPTextModel| -> Vec<f32> {
        model.forward(&texts).unwrap().last.into_data().iter().collect()
    };
    for kind in registry().iter() {
        let injection = Injection::new("a", kind.name());
        let (new, report) = inject::inject(model, &registry(), &injection).unwrap();
        assert!(report.parameters() > 0);
        assert!(deviation(&last(model), &last(&new)) < 1e-5, "{}", kind.name());
    }
}
