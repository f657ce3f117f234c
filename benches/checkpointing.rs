//! Memory of a training step of a UNet, by what of the forward pass is kept for the backward pass.
//!
//! Three levels of 64, 128 and 128 channels, each with transformers, a latent of 32x32, one sample, in
//! `f32`; the adapters of one set train, the model is frozen:
//!
//! ```text
//! all         every operation's inputs
//! operations  Burn's checkpointing: cheap operations are computed again
//! blocks      of each residual block and each transformer block the input
//! ```
//!
//! Heap that the graph holds after the forward pass, and the peak of the step, both beyond weights and
//! inputs:
//!
//! ```text
//!               graph     peak
//! all          379 MB   402 MB
//! operations   238 MB   243 MB
//! blocks        21 MB   102 MB
//! ```
//!
//!     cargo bench -p higanbana --bench checkpointing

#![allow(clippy::print_stdout)]

use std::{path::Path, time::Instant};

use burn::tensor::{Device, Distribution, Tensor};
use higanbana::{
    diffusion::{UNet2DConditionModel, UNetConfig, config::Fields},
    prelude::*,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const CONFIG: &str = r#"{
    "block_out_channels": [64, 128, 128], "layers_per_block": 2, "attention_head_dim": 4,
    "cross_attention_dim": 64,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
}"#;

fn main() {
    println!("{:12} {:>10} {:>10} {:>8}", "", "graph", "peak", "step");
    let device = || Device::flex().autodiff();
    measure("all", device(), false);
    measure("operations", device().gradient_checkpointing(), false);
    measure("blocks", device(), true);
}

fn measure(name: &str, device: Device, blocks: bool) {
    let config = Fields::parse(Path::new("UNet"), CONFIG).and_then(UNetConfig::from_fields);
    let model = UNet2DConditionModel::new(&config.expect("it is supported"), &device);
    let injection = Injection::new("adapters", registry().iter().next().expect("one").name());
    let (model, _) = inject(&model, &registry(), &injection).expect("it has layers");
    let model = model.checkpointed(blocks);
    let normal = Distribution::Normal(0.0, 1.0);
    let sample = Tensor::<4>::random([1, 4, 32, 32], normal, &device);
    let context = Tensor::<3>::random([1, 77, 64], normal, &device);
    let times = Tensor::<1>::from_floats([500.0], &device);
    let forward = || model.forward(sample.clone(), times.clone(), context.clone(), None);
    // Weights exist from the first use on.
    drop(forward());

    let before = MEMORY.current_usage_as_mb();
    MEMORY.reset_peak_usage();
    let begin = Instant::now();
    let loss = forward().square().mean();
    let graph = MEMORY.current_usage_as_mb() - before;
    drop(loss.backward());
    let peak = MEMORY.peak_usage_as_mb() - before;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{name:12} {graph:>7.0} MB {peak:>7.0} MB {seconds:>6.1} s");
}
