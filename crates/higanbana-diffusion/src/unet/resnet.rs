//! Residual blocks and the changes of resolution between them; the autoencoder's are the same.

use burn::{
    module::{Module, Param},
    nn::{GroupNorm, GroupNormConfig, LinearConfig, PaddingConfig2d, conv::Conv2dConfig},
    tensor::{
        Device, Tensor,
        activation::silu,
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};
use higanbana_adapters::layers::{Conv2d, Linear};
use higanbana_core::ops;

/// A 3×3 convolution that keeps the size.
pub(crate) fn conv3x3(input: usize, output: usize, device: &Device) -> Conv2d {
    let config = Conv2dConfig::new([input, output], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    Conv2d::new(&config, device)
}

/// A 1×1 convolution.
pub(crate) fn conv1x1(input: usize, output: usize, device: &Device) -> Conv2d {
    Conv2d::new(&Conv2dConfig::new([input, output], [1, 1]), device)
}

/// A group normalisation.
pub(crate) fn group_norm(norm: Norm, channels: usize, device: &Device) -> GroupNorm {
    GroupNormConfig::new(norm.groups, channels).with_epsilon(norm.eps).init(device)
}

/// What a norm makes of maps, and SiLU after it where `activated`, as one operation.
pub(crate) fn normalised(norm: &GroupNorm, x: Tensor<4>, activated: bool) -> Tensor<4> {
    let parameter = |parameter: &Option<Param<Tensor<1>>>| {
        parameter.as_ref().expect("the norms of these models have parameters").val()
    };
    let parameters = [parameter(&norm.gamma), parameter(&norm.beta)];
    ops::group_norm(x, parameters, norm.num_groups, norm.epsilon, activated)
}

/// Groups and epsilon of group normalisations.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Groups of channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

/// $$ y = s(x) + conv_2\big(silu(norm_2(conv_1(silu(norm_1(x))) + W silu(t)))\big) $$
///
/// with $t$ the embedding of time, where there is one, and $s$ a 1×1 convolution where the number of
/// channels changes.
#[derive(Module, Debug)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock2D {
    /// From `input` to `output` channels, for an embedding of time of this width.
    pub fn new(
        [input, output]: [usize; 2],
        time: Option<usize>,
        norm: Norm,
        device: &Device,
    ) -> Self {
        Self {
            norm1: group_norm(norm, input, device),
            conv1: conv3x3(input, output, device),
            time_emb_proj: time.map(|time| Linear::new(&LinearConfig::new(time, output), device)),
            norm2: group_norm(norm, output, device),
            conv2: conv3x3(output, output, device),
            conv_shortcut: (input != output).then(|| conv1x1(input, output, device)),
        }
    }

    /// `[batch, input, h, w]` to `[batch, output, h, w]`; the time is `[batch, width]`.
    pub fn forward(&self, x: Tensor<4>, time: Option<&Tensor<2>>) -> Tensor<4> {
        let mut y = self.conv1.forward(normalised(&self.norm1, x.clone(), true));
        if let (Some(projection), Some(time)) = (&self.time_emb_proj, time) {
            y = y + projection.forward(silu(time.clone())).unsqueeze_dims(&[2, 3]);
        }
        let y = self.conv2.forward(normalised(&self.norm2, y, true));
        match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(x) + y,
            None => x + y,
        }
    }
}

/// Half the size: a 3×3 convolution of stride 2.
#[derive(Module, Debug)]
pub struct Downsample2D {
    conv: Conv2d,
}

impl Downsample2D {
    /// The UNet's: a pixel of zeros on every side.
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self::padded(channels, PaddingConfig2d::Explicit(1, 1, 1, 1), device)
    }

    /// The autoencoder's: zeros below and to the right only.
    pub(crate) fn bottom_right(channels: usize, device: &Device) -> Self {
        Self::padded(channels, PaddingConfig2d::Explicit(0, 0, 1, 1), device)
    }

    fn padded(channels: usize, padding: PaddingConfig2d, device: &Device) -> Self {
        let config = Conv2dConfig::new([channels, channels], [3, 3]).with_stride([2, 2]);
        Self { conv: Conv2d::new(&config.with_padding(padding), device) }
    }

    /// `[batch, channels, h, w]` to `[batch, channels, ⌈h/2⌉, ⌈w/2⌉]`, rounded down for the
    /// autoencoder's.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// A larger size: the nearest pixel, then a 3×3 convolution.
#[derive(Module, Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: conv3x3(channels, channels, device) }
    }

    /// To the given height and width: an odd size that was halved cannot be had back by doubling.
    pub fn forward(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let nearest = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        self.conv.forward(interpolate(x, nearest))
    }
}
