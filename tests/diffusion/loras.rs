//! Adapter files on pipelines, against diffusers with the same files, and swapped without reading a
//! model anew.

use std::path::PathBuf;

use burn::tensor::{DType, Device, TensorData};
use higanbana_adapters::{inject, registry};
use higanbana_diffusion::{
    Pipeline, Request,
    pipeline::{Attached, attach_file},
};
use higanbana_io::{Checkpoint, Strength, writer::write_tensors};

use super::{
    formula,
    reference::{Expected, folder, pipeline_folder},
};

fn file(case: &str, kind: &str) -> PathBuf {
    folder("loras").join(format!("{case}.{kind}.safetensors"))
}

fn attach(pipeline: &mut Pipeline, case: &str, kind: &str, strength: f64) -> Attached {
    attach_file(pipeline, &file(case, kind), &strength.into(), &registry()).unwrap()
}

fn detach(pipeline: &mut Pipeline, set: &str) {
    pipeline.unet = inject::detach(&pipeline.unet, set).unwrap();
    for encoder in &mut pipeline.encoders {
        encoder.model = inject::detach(&encoder.model, set).unwrap();
    }
}

fn latents(pipeline: &Pipeline) -> TensorData {
    let noise = vec![formula::tensor("pipeline noise", [1, 4, 8, 6], &pipeline.device)];
    let prompt = "a red spider lily in the rain, best quality".into();
    let request = Request { prompt, steps: 6, noise, ..Request::default() };
    pipeline.generate(&request, &mut |_, _| ()).unwrap().latents.into_data()
}

#[test]
fn files_act_as_in_diffusers_and_are_swapped() {
    let device = Device::default();
    let expected = Expected::open("loras/expected.safetensors");
    for (case, modules) in [("sd", [4, 5]), ("sdxl", [4, 7])] {
        let folder = pipeline_folder(case);
        let mut pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
        let check = |pipeline: &Pipeline, kinds: &str| {
            let found = burn::tensor::Tensor::<4>::from_data(latents(pipeline), &device);
            let off = expected.check(&format!("{case} {kinds}"), found, 1e-3);
            println!("{case} {kinds}: {off:.1e}");
        };
        let before = latents(&pipeline);
        let kohya = attach(&mut pipeline, case, "kohya", 0.7);
        assert_eq!((kohya.placed.modules, kohya.placed.leftovers.len()), (modules[0], 0));
        check(&pipeline, "kohya");
        let other = attach(&mut pipeline, case, "diffusers", -0.4);
        assert_eq!((other.placed.modules, other.placed.leftovers.len()), (modules[1], 0));
        check(&pipeline, "kohya diffusers");
        detach(&mut pipeline, &kohya.set);
        check(&pipeline, "diffusers");
        detach(&mut pipeline, &other.set);
        assert_eq!(latents(&pipeline), before);

        // One file may act twice.
        let halves = [0.5, 0.2].map(|mu| attach(&mut pipeline, case, "kohya", mu).set);
        check(&pipeline, "kohya");
        halves.iter().for_each(|set| detach(&mut pipeline, set));
        assert_eq!(latents(&pipeline), before);
    }
}

#[test]
fn parts_have_strengths_of_their_own_as_in_diffusers() {
    let device = Device::default();
    let expected = Expected::open("loras/expected.safetensors");
    for (case, weights) in
        [("sd", "1,0.9,0,0,0,0,0,-0.5,0,0,0,0,0,0,0,0,0"), ("sdxl", "1,0,0,0,0,-0.5,0,0,0,0,0,0")]
    {
        let folder = pipeline_folder(case);
        let mut pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
        let mut strength = Strength::from(1.0);
        strength.set("te=0.3").unwrap();
        strength.set(&format!("lbw={weights}")).unwrap();
        attach_file(&mut pipeline, &file(case, "kohya"), &strength, &registry()).unwrap();
        let found = burn::tensor::Tensor::<4>::from_data(latents(&pipeline), &device);
        let off = expected.check(&format!("{case} parts"), found, 1e-3);
        println!("{case}: {off:.1e}");
    }
    // A layer of a block that the weights leave out.
    let folder = pipeline_folder("sd");
    let mut pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let mut strength = Strength::from(1.0);
    strength.set("lbw=1,1,1,1,1,1,1,1,1,1,1,1").unwrap();
    let error = attach_file(&mut pipeline, &file("sd", "kohya"), &strength, &registry());
    let error = error.unwrap_err().to_string();
    assert!(error.contains(" is in block IN01, for which 12 block weights have none"), "{error}");
}

#[test]
fn what_has_no_place_is_named() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    let mut pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let kohya = Checkpoint::open(file("sd", "kohya")).unwrap();
    let read = |name: &String| (name.clone(), kohya.read(name).unwrap());
    let mut tensors: std::collections::BTreeMap<_, _> = kohya.names().iter().map(read).collect();
    for (side, shape) in [("lora_up", [4, 2]), ("lora_down", [2, 4])] {
        let values = TensorData::new(vec![1f32; 8], shape);
        tensors.insert(format!("lora_unet_nowhere.{side}.weight"), values);
    }
    let more = folder.path().join("more.safetensors");
    write_tensors(&more, &tensors, &Default::default(), false).unwrap();
    let placed = attach_file(&mut pipeline, &more, &1.0.into(), &registry()).unwrap().placed;
    let names: Vec<_> = placed.leftovers.iter().map(|leftover| &*leftover.name).collect();
    assert_eq!((placed.modules, names), (4, vec!["lora_unet_nowhere"]));

    // A file of which nothing has a place is that of another model.
    tensors.retain(|key, _| key.contains("nowhere"));
    let other = folder.path().join("other.safetensors");
    write_tensors(&other, &tensors, &Default::default(), false).unwrap();
    let error =
        attach_file(&mut pipeline, &other, &1.0.into(), &registry()).unwrap_err().to_string();
    assert!(error.contains("lora_unet_nowhere: not in the base"), "{error}");
    assert!(error.ends_with("is this the model that it was made for?"), "{error}");
}
