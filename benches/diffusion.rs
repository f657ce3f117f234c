//! Speed of the UNet of Stable Diffusion 1.5, of its blocks and of the operations in them: forward
//! pass and training step, in `f32` at 64×64 latents, batch 1.
//!
//!     cargo bench -p higanbana --bench diffusion                    # criterion
//!     cargo bench -p higanbana --bench diffusion -- conv            # those with conv in the name
//!     python benches/diffusion_torch.py [FILTER]                    # beside PyTorch and diffusers
//!
//! A step of a block computes every gradient, that of the whole UNet those of its inputs, as the
//! training of adapters does.

mod serve;

use std::{hint::black_box, path::Path};

use burn::{
    module::Module,
    nn,
    tensor::{Device, Distribution, Tensor, ops::ConvOptions},
};
use higanbana::{
    adapters::layers::Linear,
    core::ops,
    diffusion::{
        UNet2DConditionModel, UNetConfig,
        unet::{
            resnet::{Norm, ResnetBlock2D},
            transformer::{Shape, Transformer2DModel},
        },
    },
};
use serve::{Case, Pass, Run};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The same as a parameter, where there are gradients.
fn parameter<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let x = random(shape, device);
    if x.is_autodiff() { x.require_grad() } else { x }
}

impl Case {
    fn new<M: 'static, const D: usize, const E: usize>(
        name: impl Into<String>,
        shape: [usize; D],
        model: impl Fn(&Device) -> M + 'static,
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E> + Copy + 'static,
    ) -> Self {
        let new = move |pass| -> Run {
            let device = match pass {
                Pass::Forward => Device::flex(),
                Pass::Step => Device::flex().autodiff(),
            };
            let (model, x) = (model(&device), random(shape, &device));
            Box::new(move || match pass {
                Pass::Forward => drop(black_box(forward(&model, x.clone()).into_data())),
                Pass::Step => {
                    let y = forward(&model, x.clone().require_grad());
                    drop(black_box(y.sum().backward()));
                }
            })
        };
        Self { name: name.into(), new: Box::new(new) }
    }

    /// A convolution with padding, `[in, out]` channels.
    fn conv([input, output]: [usize; 2], size: usize, kernel: usize, stride: usize) -> Self {
        let name = format!("conv{kernel}x{kernel} {input}-{output} @{size} /{stride}");
        let side = kernel / 2;
        let options = move || {
            let padding = [(side, side); 2];
            ConvOptions::new_with_padding([stride, stride], padding, [1, 1], 1)
        };
        let weight = move |device: &Device| parameter([output, input, kernel, kernel], device);
        Self::new(name, [1, input, size, size], weight, move |weight, x| {
            ops::conv2d(x, weight.clone(), None, options())
        })
    }

    /// Attention of `n` positions to `m`, or to themselves, of eight heads.
    fn attention(n: usize, m: Option<usize>, width: usize) -> Self {
        let name = format!("attention {n}-{} width {width}", m.unwrap_or(n));
        let keys = move |device: &Device| m.map(|m| parameter([1, m, width], device));
        Self::new(name, [1, n, width], keys, |keys, q| {
            let keys = keys.clone().unwrap_or_else(|| q.clone());
            ops::attention([q, keys.clone(), keys], 8, false)
        })
    }

    fn resnet([input, output]: [usize; 2], size: usize) -> Self {
        let name = format!("resnet {input}-{output} @{size}");
        let norm = Norm { groups: 32, eps: 1e-5 };
        let new = move |device: &Device| {
            let block = ResnetBlock2D::new([input, output], Some(1280), norm, device);
            (block, random([1, 1280], device))
        };
        Self::new(name, [1, input, size, size], new, |(block, time), x| {
            block.forward(x, Some(time))
        })
    }

    fn transformer(width: usize, size: usize) -> Self {
        let name = format!("transformer {width} @{size}");
        let shape = Shape {
            width,
            heads: 8,
            depth: 1,
            context: 768,
            groups: 32,
            linear_projection: false,
            upcast: false,
        };
        let new = move |device: &Device| {
            (Transformer2DModel::new(shape, device), random([1, 77, 768], device))
        };
        Self::new(name, [1, width, size, size], new, |(block, text), x| {
            block.forward(x, text, false)
        })
    }

    fn unet() -> Self {
        let new = |device: &Device| {
            let config = "../../tests/reference/diffusion/published/sd15.json";
            let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(config);
            let config = UNetConfig::read(&config).expect("a published configuration");
            let model = UNet2DConditionModel::new(&config, device).no_grad();
            let time = Tensor::<1>::from_floats([500.0], device);
            (model, time, random([1, 77, 768], device))
        };
        Self::new("unet @64", [1, 4, 64, 64], new, |(model, time, text), x| {
            model.forward(x, time.clone(), text.clone(), None)
        })
    }

    fn all() -> Vec<Self> {
        let vectors = |device: &Device| [(); 2].map(|_| parameter([320], device));
        vec![
            Self::conv([320, 320], 64, 3, 1),
            Self::conv([640, 640], 32, 3, 1),
            Self::conv([1280, 1280], 16, 3, 1),
            Self::conv([1280, 1280], 8, 3, 1),
            Self::conv([2560, 1280], 8, 3, 1),
            Self::conv([320, 320], 64, 3, 2),
            Self::conv([320, 320], 64, 1, 1),
            Self::attention(4096, None, 320),
            Self::attention(1024, None, 640),
            Self::attention(4096, Some(77), 320),
            Self::new("geglu 4096x2560", [1, 4096, 2560], |_| (), |(), x| ops::geglu(x)),
            Self::new("group norm 320 @64", [1, 320, 64, 64], vectors, |vectors, x| {
                ops::group_norm(x, vectors.clone(), 32, 1e-5, false)
            }),
            Self::new("group norm silu 320 @64", [1, 320, 64, 64], vectors, |vectors, x| {
                ops::group_norm(x, vectors.clone(), 32, 1e-5, true)
            }),
            Self::new(
                "layer norm 4096x320",
                [1, 4096, 320],
                |device| nn::LayerNormConfig::new(320).init(device),
                |norm, x| norm.forward(x),
            ),
            Self::new(
                "linear 4096x320-2560",
                [1, 4096, 320],
                |device| Linear::new(&nn::LinearConfig::new(320, 2560), device),
                |linear, x| linear.forward(x),
            ),
            Self::resnet([320, 320], 64),
            Self::resnet([960, 640], 32),
            Self::resnet([2560, 1280], 16),
            Self::transformer(320, 64),
            Self::transformer(640, 32),
            Self::transformer(1280, 16),
            Self::unet(),
        ]
    }
}

fn main() {
    serve::main(&Case::all(), &[Pass::Forward, Pass::Step]);
}
