//! The gated GELU from Burn's operations.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::Slice,
};

use super::{DiffusionOps, Recompute};

/// Input `x`.
#[derive(Debug)]
pub(super) struct Gate;

impl<B: DiffusionOps> Recompute<B, 1> for Gate {
    fn forward(&self, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        B::gate(x)
    }

    fn backward(
        &self,
        [x]: [FloatTensor<B>; 1],
        gradient: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::gate_backward(x, gradient))]
    }
}

/// $(a, g)$, the two halves of the last dimension.
fn halves<B: Backend>(x: FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let shape = x.shape();
    let axis = shape.num_dims() - 1;
    let n = shape[axis] / 2;
    [0..n, n..2 * n].map(|half| {
        let mut slices = vec![Slice::full(); axis];
        slices.push(Slice::from(half));
        B::float_slice(x.clone(), &slices)
    })
}

pub(in super::super) fn composed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [a, g] = halves::<B>(x);
    B::float_mul(a, B::gelu(g))
}

/// $da = dy g \Phi(g)$ and $dg = dy a (\Phi(g) + g \phi(g))$, with the normal
/// distribution $\Phi$ and its density $\phi$. (Burn's own gradient of the GELU is, but for flex,
/// that of an approximation.)
pub(in super::super) fn composed_backward<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let axis = x.shape().num_dims() - 1;
    let [a, g] = halves::<B>(x);
    let erf = B::float_erf(B::float_mul_scalar(g.clone(), FRAC_1_SQRT_2.into()));
    let below = B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into());
    let density = B::float_mul_scalar(B::float_mul(g.clone(), g.clone()), (-0.5).into());
    let density = B::float_mul_scalar(B::float_exp(density), (2.0 * PI).powf(-0.5).into());
    let slope = B::float_add(below.clone(), B::float_mul(g.clone(), density));
    let of_a = B::float_mul(gradient.clone(), B::float_mul(g, below));
    let of_g = B::float_mul(gradient, B::float_mul(a, slope));
    B::float_cat(vec![of_a, of_g], axis)
}
