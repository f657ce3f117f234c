//! A 2-d convolution with a shortcut for its adapters.

use burn::{
    module::{Module, Param},
    nn::{self, PaddingConfig2d},
    tensor::{Device, Tensor, ops::ConvOptions},
};
use higanbana_core::{Features, Op, ops};

use super::{shortcut::forward, watch::watched};

/// Burn's [`Conv2d`](nn::conv::Conv2d), with the same parameters and records.
///
/// ```text
/// weight  [out, in/groups, height, width]
/// bias    [out]
/// ```
#[derive(Module, Debug)]
pub struct Conv2d {
    /// The kernel, `[out, in/groups, height, width]`.
    pub weight: Param<Tensor<4>>,
    /// The bias, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Stride, in pixels: height, width.
    pub stride: [usize; 2],
    /// Size of the kernel, in taps: height, width.
    pub kernel_size: [usize; 2],
    /// Distance of neighbouring taps, in pixels: height, width.
    pub dilation: [usize; 2],
    /// Number of groups of channels.
    pub groups: usize,
    /// Padding with zeros.
    #[module(skip)]
    pub padding: PaddingConfig2d,
}

impl Conv2d {
    /// A layer of Burn's configuration.
    pub fn new(config: &nn::conv::Conv2dConfig, device: &Device) -> Self {
        config.init(device).into()
    }

    /// `[batch, in, height, width]` to `[batch, out, height', width']`.
    ///
    /// # Panics
    /// When the number of channels is not `in`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        let options = self.options(&x);
        let op = Op::Conv2d(options.clone());
        let y = match forward(&self.weight, &bias, || Features::Maps(x.clone()), &op) {
            Some(Features::Maps(y)) => y,
            _ => ops::conv2d(x, self.weight.val(), bias, options),
        };
        watched(self.weight.id, y)
    }

    pub(super) fn options(&self, x: &Tensor<4>) -> ConvOptions<2> {
        let [_, _, height, width] = x.dims();
        let padding = match self.padding {
            PaddingConfig2d::Valid => [(0, 0), (0, 0)],
            PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
            PaddingConfig2d::Same => [self.same(0, height), self.same(1, width)],
        };
        ConvOptions::new_with_padding(self.stride, padding, self.dilation, self.groups)
    }

    /// Padding before and after, so that the output has ⌈size / stride⌉ pixels; the odd one goes
    /// after. As in Burn, where the function is private, the dilation is not taken into account.
    fn same(&self, axis: usize, size: usize) -> (usize, usize) {
        let out = size.div_ceil(self.stride[axis]);
        let covered = (out.saturating_sub(1)) * self.stride[axis] + self.kernel_size[axis];
        let total = covered.saturating_sub(size);
        (total / 2, total - total / 2)
    }
}

impl From<nn::conv::Conv2d> for Conv2d {
    fn from(layer: nn::conv::Conv2d) -> Self {
        Self {
            weight: layer.weight,
            bias: layer.bias,
            stride: layer.stride,
            kernel_size: layer.kernel_size,
            dilation: layer.dilation,
            groups: layer.groups,
            padding: layer.padding,
        }
    }
}
