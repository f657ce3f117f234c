//! The UNet of Stable Diffusion 1.5 at its full size against diffusers, with its time and memory:
//!
//!     cargo test --release -p higanbana-diffusion --test diffusion -- --ignored --nocapture full

use std::{fs, time::Instant};

use burn::tensor::{DType, Device};
use higanbana_diffusion::UNet2DConditionModel;

use super::{
    reference::{Expected, folder, unet_folder_of},
    unet::Inputs,
};

#[test]
#[ignore = "slow: takes 4 GB of memory, as much disk, and a minute"]
fn the_full_unet_is_that_of_diffusers() {
    let device = Device::default();
    let files = unet_folder_of(&folder("published").join("sd15.json"));
    let start = Instant::now();
    let model = UNet2DConditionModel::read(files.path(), &device, DType::F32).unwrap();
    println!("read in {:.1} s, peak {}", start.elapsed().as_secs_f64(), peak());
    drop(files);

    let mut inputs = Inputs::new(&model, [64, 64], &device);
    inputs.sample = inputs.sample.narrow(0, 0, 1);
    inputs.times = inputs.times.narrow(0, 0, 1);
    inputs.context = inputs.context.narrow(0, 0, 1);
    let start = Instant::now();
    let out: Vec<f32> = inputs.forward(&model).into_data().iter().collect();
    println!("forward pass in {:.1} s, peak {}", start.elapsed().as_secs_f64(), peak());

    let expected = Expected::of("published");
    let number = |key| f64::from(expected.values(key)[0]);
    let found = out.iter().step_by(61);
    let differences = expected.values("values").into_iter().zip(found);
    // A NaN is no small difference: in the total order it is the largest.
    let off = differences.map(|(a, b)| f64::from((a - b).abs())).max_by(f64::total_cmp);
    let off = off.unwrap_or_default() / number("largest");
    let norm = out.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let of_norm = (norm / number("norm") - 1.0).abs();
    println!("off by {off:.1e} of the largest value, the norm by {of_norm:.1e}");
    assert!(off <= 1e-4 && of_norm <= 1e-4, "{off:.1e}, {of_norm:.1e}");
}

/// The peak of resident memory so far, where Linux tells.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".into(), |line| line.trim().into())
}
