//! A step of training of small UNets from scratch, in `f32` on maps of 32×32 pixels, batch 16: forward
//! pass, backward pass, clipping and AdamW. They are made like that of `experiments/06-first-adapter`.
//!
//!     cargo bench -p higanbana --bench scratch                  # criterion
//!     python benches/scratch_torch.py [FILTER]                  # next to diffusers and PyTorch

mod serve;

use std::path::Path;

use burn::{
    optim::GradientsParams,
    tensor::{Device, Distribution, Tensor},
};
use higanbana::{
    diffusion::{UNet2DConditionModel, UNetConfig},
    train::{Clip, Group, ModelOptimizer, optimizer},
};
use serve::{Case, Pass, Run};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../experiments/06-first-adapter/base/unet/config.json"
);

/// Widths of the levels.
const WIDTHS: [[usize; 3]; 2] = [[16, 32, 64], [32, 64, 128]];
const BATCH: usize = 16;
/// Tokens of a caption.
const TOKENS: usize = 8;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn step(widths: [usize; 3]) -> Run {
    let device = Device::flex().autodiff();
    let mut config = UNetConfig::read(Path::new(CONFIG)).expect("it is committed");
    let sides = config.sample_size.expect("it has one");
    config.levels.iter_mut().zip(widths).for_each(|(level, width)| level.channels = width);
    let mut model = Some(UNet2DConditionModel::new(&config, &device));
    let maps = || random([BATCH, config.in_channels, sides[0], sides[1]], &device);
    let (noisy, noise) = (maps(), maps());
    let times = random([BATCH], &device).abs() * 300.0;
    let context = random([BATCH, TOKENS, config.levels[0].context], &device);
    let rule = optimizer("adamw").expect("it is registered");
    let group = Group { rate: 1e-4, settings: rule.settings() };
    let all = model.as_ref().expect("it is there");
    let mut optimizer = ModelOptimizer::new(all, rule, &[group], |_| 0).clipped(Clip::Whole(1.0));
    Box::new(move || {
        let before = model.take().expect("it was put back");
        let found = before.forward(noisy.clone(), times.clone(), context.clone(), None);
        let loss = (found - noise.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &before);
        model = Some(optimizer.step(1.0, before, gradients));
    })
}

fn main() {
    let cases = WIDTHS.map(|widths| {
        let name = widths.map(|width| width.to_string()).join("-");
        Case { name, new: Box::new(move |_| step(widths)) }
    });
    serve::main(&cases, &[Pass::Step]);
}
