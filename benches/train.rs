//! A step of training of adapters on blocks of Stable Diffusion 1.5's UNet, in `f32` at 32×32 latents,
//! batch 1: forward pass, backward pass and AdamW, on both forward paths.
//!
//!     cargo bench -p higanbana --bench train                    # criterion
//!     cargo bench -p higanbana --bench train -- loha            # those with loha in the name
//!     python benches/train_torch.py [FILTER]                    # beside LyCORIS, diffusers and PyTorch
//!
//! Every linear layer and convolution of a block has an adapter; `train.toml` has their options.

mod serve;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Distribution, Tensor},
};
use higanbana::{
    adapters::layers::set_path,
    diffusion::unet::{
        resnet::{Norm, ResnetBlock2D},
        transformer::{Shape, Transformer2DModel},
    },
    prelude::*,
    train::{Group, ModelOptimizer, optimizer},
};
use serde::Deserialize;
use serve::{Case, Pass, Run};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is timed, as `train.toml` has it.
#[derive(Deserialize)]
struct Timed {
    adapter: Vec<Adapted>,
}

#[derive(Deserialize)]
struct Adapted {
    name: String,
    options: toml::Table,
    paths: Vec<String>,
}

const PATHS: [(&str, PathChoice); 2] =
    [("definition", PathChoice::Definition), ("shortcut", PathChoice::Shortcut)];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A residual block with the time that it is told.
fn resnet(device: &Device) -> (ResnetBlock2D, Tensor<2>) {
    let norm = Norm { groups: 32, eps: 1e-5 };
    (ResnetBlock2D::new([640, 640], Some(1280), norm, device), random([1, 1280], device))
}

/// Attention and feed-forward layers with the text that they see.
fn transformer(device: &Device) -> (Transformer2DModel, Tensor<3>) {
    let shape = Shape {
        width: 640,
        heads: 8,
        depth: 1,
        context: 768,
        groups: 32,
        linear_projection: false,
        upcast: false,
    };
    (Transformer2DModel::new(shape, device), random([1, 77, 768], device))
}

/// A step of a block with adapters on everything that they adapt.
fn step<M: Module + 'static, C: 'static>(
    (block, given): (M, C),
    forward: fn(&M, Tensor<4>, &C) -> Tensor<4>,
    injection: &Injection,
    path: PathChoice,
) -> Run {
    let device = Device::flex().autodiff();
    let (block, _) = inject(&block, &registry(), injection).expect("it has layers");
    let mut block = Some(set_path(block, path).train());
    let x = random([1, 640, 32, 32], &device);
    let rule = optimizer("adamw").expect("it is registered");
    let group = Group { rate: 1e-4, settings: rule.settings() };
    let all = block.as_ref().expect("it is there");
    let mut optimizer = ModelOptimizer::new(all, rule, &[group], |_| 0);
    Box::new(move || {
        let before = block.take().expect("it was put back");
        // As in the model, where it comes from other blocks with adapters.
        let y = forward(&before, x.clone().require_grad(), &given);
        let gradients = GradientsParams::from_grads(y.square().mean().backward(), &before);
        block = Some(optimizer.step(1.0, before, gradients));
    })
}

fn cases() -> Vec<Case> {
    let timed: Timed = toml::from_str(include_str!("train.toml")).expect("it is as it says");
    let mut cases = Vec::new();
    for Adapted { name, options, paths } in timed.adapter {
        let injection = Injection::new("bench", &name).options(options);
        for (path_name, path) in
            PATHS.into_iter().filter(|(path, _)| paths.iter().any(|it| it == path))
        {
            let device = || Device::flex().autodiff();
            let mut add = |block: &str, new: Box<dyn Fn(Pass) -> Run>| {
                cases.push(Case { name: format!("{name} {block} {path_name}"), new });
            };
            let (here, there) = (injection.clone(), injection.clone());
            add(
                "transformer",
                Box::new(move |_| {
                    let forward =
                        |block: &Transformer2DModel, x, text: &_| block.forward(x, text, false);
                    step(transformer(&device()), forward, &here, path)
                }),
            );
            add(
                "resnet",
                Box::new(move |_| {
                    let forward = |block: &ResnetBlock2D, x, time: &_| block.forward(x, Some(time));
                    step(resnet(&device()), forward, &there, path)
                }),
            );
        }
    }
    cases
}

fn main() {
    serve::main(&cases(), &[Pass::Step]);
}
