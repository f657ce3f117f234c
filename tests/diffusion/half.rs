//! Half precision: as far from single precision as its own rounding explains.

use burn::tensor::{DType, Device};
use higanbana_diffusion::{Pipeline, Request, UNet2DConditionModel};

use super::{
    formula,
    reference::{deviation, pipeline_folder, unet_folder},
    unet::{CASES, Inputs},
};

/// Type, its rounding, and how many times that a result may be off.
const TYPES: [(DType, f64, f64); 2] =
    [(DType::F16, 1.0 / 2048.0, 20.0), (DType::BF16, 1.0 / 256.0, 20.0)];

#[test]
fn unets_compute_in_half_precision() {
    let device = Device::default();
    for case in CASES {
        let folder = unet_folder(case);
        let out = |dtype| -> Vec<f32> {
            let model = UNet2DConditionModel::read(folder.path(), &device, dtype).unwrap();
            let mut inputs = Inputs::new(&model, [16, 12], &device);
            inputs.sample = inputs.sample.cast(dtype);
            inputs.context = inputs.context.cast(dtype);
            if let Some(added) = &mut inputs.added {
                added.text_embeds = added.text_embeds.clone().cast(dtype);
            }
            let out = inputs.forward(&model);
            assert_eq!(out.dtype(), dtype);
            out.cast(DType::F32).into_data().iter().collect()
        };
        let single = out(DType::F32);
        for (dtype, rounding, times) in TYPES {
            let off = deviation(&single, &out(dtype));
            println!("{case} {dtype:?}: {off:.1e}");
            assert!(off > rounding / 10.0 && off < times * rounding, "{case} {dtype:?}: {off:.1e}");
        }
    }
}

#[test]
fn pipelines_compute_in_half_precision() {
    let device = Device::default();
    for case in ["sd", "sdxl"] {
        let folder = pipeline_folder(case);
        let run = |dtype| {
            let pipeline = Pipeline::read(folder.path(), &device, dtype).unwrap();
            let request = Request {
                prompt: "a red spider lily".into(),
                steps: 4,
                noise: vec![formula::tensor("pipeline noise", [1, 4, 8, 6], &device)],
                ..Request::default()
            };
            let generated = pipeline.generate(&request, &mut |_, _| ()).unwrap();
            // The autoencoder's configuration asks for single precision.
            assert_eq!(generated.images.dtype(), DType::F32);
            let images: Vec<f32> = generated.images.into_data().iter().collect();
            images
        };
        let single = run(DType::F32);
        for (dtype, rounding, times) in TYPES {
            let off = deviation(&single, &run(dtype));
            println!("{case} {dtype:?}: {off:.1e}");
            assert!(off > 0.0 && off < times * rounding, "{case} {dtype:?}: {off:.1e}");
        }
    }
}
