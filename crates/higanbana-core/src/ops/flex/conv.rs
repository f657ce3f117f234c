//! Convolutions as products of matrices: of panels copied straight from the maps where there are few
//! channels ([`direct`]), of [`columns`] where there are many.

mod columns;
mod direct;
mod field;
#[cfg(test)]
mod tests;
mod tile;
mod weight;

use burn::tensor::{Shape, ops::ConvOptions};
use pulp::Arch;

use super::{Flexible, numbers, tensor};
use direct::Kernel;
use field::{Axis, Field};
use weight::Sizes;

/// Channels, of maps and of results, and pixels of either up to which panels are copied from the maps:
/// what small UNets have. Kernels and results of more outgrow the caches that panels rely on.
const CHANNELS: usize = 256;
const PIXELS: usize = 64 * 64;

/// The sizes of a convolution.
#[derive(Debug)]
pub struct Plan {
    batch: usize,
    input: usize,
    output: usize,
    /// Height and width of `x`, of the kernel and of the result.
    map: [usize; 2],
    kernel: [usize; 2],
    result: [usize; 2],
    options: ConvOptions<2>,
}

impl Plan {
    pub fn new(x: &Shape, weight: &Shape, options: &ConvOptions<2>) -> Self {
        let ([batch, input, h, w], [output, _, kh, kw]) = (x.dims(), weight.dims());
        let size = |axis: usize, size: usize, taps: usize| {
            let (before, after) = options.padding[axis];
            let covered = options.dilation[axis] * (taps - 1) + 1;
            (before + size + after).saturating_sub(covered) / options.stride[axis] + 1
        };
        let result = [size(0, h, kh), size(1, w, kw)];
        let options = options.clone();
        Self { batch, input, output, map: [h, w], kernel: [kh, kw], result, options }
    }

    /// Whether the gradients are taken here; a kernel of one tap on many channels is a product without
    /// columns.
    pub fn pays_backward(&self) -> bool {
        self.options.groups == 1 && (self.taps() > 1 || self.small())
    }

    /// The same for the result; flex has a way of its own for few channels.
    pub fn pays_forward(&self) -> bool {
        self.pays_backward() && (self.small() || self.input >= 16 && self.output >= 16)
    }

    /// Whether panels are copied from the maps; without vectors that is slow.
    fn small(&self) -> bool {
        let pixels = |[h, w]: [usize; 2]| h * w;
        self.input.max(self.output) <= CHANNELS
            && pixels(self.map).max(pixels(self.result)) <= PIXELS
            && !matches!(Arch::new(), Arch::Scalar)
    }

    pub fn forward(&self, x: Flexible, weight: Flexible) -> Flexible {
        match self.small() {
            true => self.direct(Arch::new(), x, weight),
            false => self.by_columns(x, weight),
        }
    }

    pub fn x_backward(&self, weight: Flexible, gradient: Flexible) -> Flexible {
        match self.small() {
            true => self.direct_x_backward(Arch::new(), weight, gradient),
            false => self.x_backward_by_columns(weight, gradient),
        }
    }

    pub fn weight_backward(&self, x: Flexible, gradient: Flexible) -> Flexible {
        match self.small() {
            true => self.direct_weight_backward(Arch::new(), x, gradient),
            false => self.weight_backward_by_columns(x, gradient),
        }
    }

    fn direct(&self, arch: Arch, x: Flexible, weight: Flexible) -> Flexible {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let (weight, taps) = (numbers(&weight), self.taps());
        let number = |o, c, t| weight[(o * self.input + c) * taps + t];
        let kernel = Kernel::new(arch, [self.output, self.input, taps], number);
        let y = kernel.apply(arch, &Field::new(self.axes()), numbers(&x), self.batch);
        let [h, w] = self.result;
        tensor(y, [self.batch, self.output, h, w])
    }

    fn direct_x_backward(&self, arch: Arch, weight: Flexible, gradient: Flexible) -> Flexible {
        let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
        let (weight, taps) = (numbers(&weight), self.taps());
        let number = |c, o, t| weight[(o * self.input + c) * taps + taps - 1 - t];
        let kernel = Kernel::new(arch, [self.input, self.output, taps], number);
        let field = Field::new(self.axes().map(Axis::transposed));
        let of_x = kernel.apply(arch, &field, numbers(&gradient), self.batch);
        let [h, w] = self.map;
        tensor(of_x, [self.batch, self.input, h, w])
    }

    fn direct_weight_backward(&self, arch: Arch, x: Flexible, gradient: Flexible) -> Flexible {
        let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
        let &Self { batch, output, input, kernel: [kh, kw], .. } = self;
        let sizes = Sizes { batch, output, input, taps: kh * kw };
        let field = Field::new(self.axes());
        let of_weight = sizes.gradient(arch, &field, numbers(&x), numbers(&gradient));
        tensor(of_weight, [output, input, kh, kw])
    }

    fn axes(&self) -> [Axis; 2] {
        [0, 1].map(|axis| Axis {
            map: self.map[axis],
            result: self.result[axis],
            taps: self.kernel[axis],
            stride: self.options.stride[axis],
            dilation: self.options.dilation[axis],
            spread: 1,
            before: self.options.padding[axis].0 as isize,
        })
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}
