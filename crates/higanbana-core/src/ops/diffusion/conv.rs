//! The gradients of a convolution.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Shape, Slice, ops::ConvOptions},
};

use super::{DiffusionOps, Recompute};

/// Inputs `x`, `weight`.
#[derive(Debug)]
pub(super) struct Convolve {
    pub options: ConvOptions<2>,
}

impl<B: DiffusionOps> Recompute<B, 2> for Convolve {
    fn forward(&self, [x, weight]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        B::convolve(x, weight, self.options.clone())
    }

    fn backward(
        &self,
        [x, weight]: [FloatTensor<B>; 2],
        gradient: FloatTensor<B>,
        [to_x, to_weight]: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        let options = || self.options.clone();
        let of_x = to_x.then(|| {
            B::convolve_x_backward(x.clone(), weight.clone(), gradient.clone(), options())
        });
        let of_weight =
            to_weight.then(|| B::convolve_weight_backward(x, weight, gradient, options()));
        [of_x, of_weight]
    }
}

/// One product for each tap $k$ of the kernel, where Burn has a tiny convolution for each channel:
///
/// $$ dW_k = \sum_n G_n X_{n,k}^\top $$
///
/// with $G_n$ the gradient `[out, h'·w']` and $X_{n,k}$ the pixels `[in, h'·w']` under that tap.
pub(in super::super) fn composed_weight_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: ConvOptions<2>,
) -> FloatTensor<B> {
    if options.groups > 1 {
        return B::conv2d_weight_backward(x, weight, gradient, options);
    }
    let ([batch, input, _, _], [_, _, kh, kw]) = (x.shape().dims(), weight.shape().dims());
    let [_, output, h, w] = gradient.shape().dims();
    let x = padded::<B>(x, &options);
    let gradient = B::float_reshape(gradient, Shape::new([batch, output, h * w]));
    let under = |tap: usize, size: usize, axis: usize| {
        let (first, stride) = (tap * options.dilation[axis], options.stride[axis]);
        let end = first + (size - 1) * stride + 1;
        Slice::new(first as isize, Some(end as isize), stride as isize)
    };
    let taps = (0..kh * kw).map(|tap| {
        let slices = [Slice::full(), Slice::full(), under(tap / kw, h, 0), under(tap % kw, w, 1)];
        let x = B::float_slice(x.clone(), &slices);
        let x = B::float_transpose(B::float_reshape(x, Shape::new([batch, input, h * w])));
        let of_tap = B::float_sum_dim(B::float_matmul(gradient.clone(), x), 0);
        B::float_reshape(of_tap, Shape::new([output, input, 1]))
    });
    B::float_reshape(B::float_cat(taps.collect(), 2), weight.shape())
}

fn padded<B: Backend>(x: FloatTensor<B>, options: &ConvOptions<2>) -> FloatTensor<B> {
    let [(top, bottom), (left, right)] = options.padding;
    if [top, bottom, left, right] == [0; 4] {
        return x;
    }
    let [batch, channels, h, w] = x.shape().dims();
    let shape = Shape::new([batch, channels, top + h + bottom, left + w + right]);
    let zeros = B::float_zeros(shape, &x.device(), x.dtype().into());
    let inside =
        [Slice::full(), Slice::full(), Slice::from(top..top + h), Slice::from(left..left + w)];
    B::float_slice_assign(zeros, &inside, x)
}
