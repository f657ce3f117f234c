//! Transformers over the positions of a map.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, GroupNorm, LayerNorm, LayerNormConfig, LinearConfig},
    tensor::{Device, Tensor},
};
use higanbana_adapters::layers::{Conv2d, Linear};
use higanbana_core::{checkpoint, ops::geglu};

use super::{
    attention::Attention,
    resnet::{Norm, conv1x1, group_norm, normalised},
};

/// What a transformer of one level is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Channels of the map.
    pub width: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Width of the text.
    pub context: usize,
    /// Groups of the normalisation.
    pub groups: usize,
    /// Whether the projections act on positions instead of maps.
    pub linear_projection: bool,
    /// Whether attention in half precision is computed in single precision.
    pub upcast: bool,
}

/// $$ y = x + out(blocks(in(norm(x)))) $$
///
/// with the pixels of a map as the positions of a sequence in between.
#[derive(Module, Debug)]
pub struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Projection,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Projection,
}

impl Transformer2DModel {
    /// A transformer of this shape.
    pub fn new(shape: Shape, device: &Device) -> Self {
        // Not the UNet's own epsilon.
        let norm = Norm { groups: shape.groups, eps: 1e-6 };
        let blocks = (0..shape.depth).map(|_| BasicTransformerBlock::new(shape, device));
        Self {
            norm: group_norm(norm, shape.width, device),
            proj_in: Projection::new(shape, device),
            transformer_blocks: blocks.collect(),
            proj_out: Projection::new(shape, device),
        }
    }

    /// `[batch, width, h, w]`, with the text `[batch, tokens, context]`; its blocks are
    /// [`checkpoint`]ed or not.
    pub fn forward(&self, x: Tensor<4>, context: &Tensor<3>, checkpointed: bool) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let rows = self.proj_in.enter(normalised(&self.norm, x.clone(), false));
        let rows = self.transformer_blocks.iter().fold(rows, |rows, block| match checkpointed {
            true => checkpoint(block, rows, context.clone(), BasicTransformerBlock::forward),
            false => block.forward(rows, context.clone()),
        });
        x + self.proj_out.leave(rows, [h, w])
    }
}

/// The same linear map, on maps in SD 1, on positions since.
#[derive(Module, Debug)]
enum Projection {
    Conv2d(Conv2d),
    Linear(Linear),
}

impl Projection {
    fn new(Shape { width, linear_projection, .. }: Shape, device: &Device) -> Self {
        match linear_projection {
            true => Self::Linear(Linear::new(&LinearConfig::new(width, width), device)),
            false => Self::Conv2d(conv1x1(width, width, device)),
        }
    }

    fn enter(&self, x: Tensor<4>) -> Tensor<3> {
        match self {
            Self::Conv2d(conv) => to_rows(conv.forward(x)),
            Self::Linear(linear) => linear.forward(to_rows(x)),
        }
    }

    fn leave(&self, rows: Tensor<3>, size: [usize; 2]) -> Tensor<4> {
        match self {
            Self::Conv2d(conv) => conv.forward(to_map(rows, size)),
            Self::Linear(linear) => to_map(linear.forward(rows), size),
        }
    }
}

/// `[batch, channels, h, w]` to `[batch, h·w, channels]`.
pub(crate) fn to_rows(x: Tensor<4>) -> Tensor<3> {
    let [batch, channels, h, w] = x.dims();
    x.reshape([batch, channels, h * w]).swap_dims(1, 2)
}

/// Inverse of [`to_rows`].
pub(crate) fn to_map(rows: Tensor<3>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = rows.dims();
    rows.swap_dims(1, 2).reshape([batch, channels, h, w])
}

/// Attention to itself, attention to the text, and a layer on each position, every one added to what
/// it is given: $x \mathrel{+}= f(norm(x))$.
#[derive(Module, Debug)]
pub struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn new(shape: Shape, device: &Device) -> Self {
        let Shape { width, heads, context, upcast, .. } = shape;
        let norm = || LayerNormConfig::new(width).init(device);
        Self {
            norm1: norm(),
            attn1: Attention::new(width, width, heads, upcast, device),
            norm2: norm(),
            attn2: Attention::new(width, context, heads, upcast, device),
            norm3: norm(),
            ff: FeedForward::new(width, device),
        }
    }

    /// `[batch, positions, width]`, with the text `[batch, tokens, context]`.
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let x = x + self.attn1.forward(normed.clone(), normed);
        let x = x.clone() + self.attn2.forward(self.norm2.forward(x), context);
        x.clone() + self.ff.forward(self.norm3.forward(x))
    }
}

/// $W_2 geglu(x) + b_2$, four times as wide inside.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// diffusers counts the dropout between the two, which no published model uses.
    net: (GEGLU, Dropout, Linear),
}

impl FeedForward {
    fn new(width: usize, device: &Device) -> Self {
        let inner = 4 * width;
        let proj = Linear::new(&LinearConfig::new(width, 2 * inner), device);
        let out = Linear::new(&LinearConfig::new(inner, width), device);
        Self { net: (GEGLU { proj }, DropoutConfig::new(0.0).init(), out) }
    }

    /// `[batch, positions, width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.net.2.forward(self.net.0.forward(x))
    }
}

/// $a \cdot gelu(g)$ with $(a, g) = x W + b$ and the exact GELU (arXiv:2002.05202).
#[derive(Module, Debug)]
pub struct GEGLU {
    proj: Linear,
}

impl GEGLU {
    /// `[batch, positions, width]` to `[batch, positions, inner]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        geglu(self.proj.forward(x))
    }
}
