//! Fused operations written against Burn's `Backend`.
//!
//! Each is a method of a trait, [`AdapterOps`] for the updates of weights and [`DiffusionOps`] for
//! the layers that a diffusion model spends its time in, whose default body composes primitive
//! operations, so that every backend has it; a backend overrides the body where a kernel of its own
//! pays. Under autodiff an operation keeps its inputs alone and recomputes the rest in the backward
//! pass: neither an updated weight nor the scores of an attention stay in the graph.

mod diffusion;
#[cfg(feature = "flex")]
mod flex;
mod hadamard;
mod recompute;

pub use diffusion::{DiffusionOps, attention, conv2d, geglu, gelu, group_norm};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, autodiff::checkpoint::strategy::CheckpointStrategy,
        backend_extension, tensor::FloatTensor,
    },
    tensor::Tensor,
};

use hadamard::{HadamardLinear, HadamardUpdate};
use recompute::Recompute;

/// The operations; all matrices row-major as the papers have them, `[out, in]`.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))
)]
pub trait AdapterOps: Backend {
    /// See [`hadamard_update`].
    fn hadamard_update(
        w1_a: FloatTensor<Self>,
        w1_b: FloatTensor<Self>,
        w2_a: FloatTensor<Self>,
        w2_b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let w1_a = Self::float_mul_scalar(w1_a, scale.into());
        Self::float_mul(Self::float_matmul(w1_a, w1_b), Self::float_matmul(w2_a, w2_b))
    }

    /// See [`hadamard_linear`].
    fn hadamard_linear(
        x: FloatTensor<Self>,
        w0: FloatTensor<Self>,
        w1_a: FloatTensor<Self>,
        w1_b: FloatTensor<Self>,
        w2_a: FloatTensor<Self>,
        w2_b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let weight = Self::float_add(w0, Self::hadamard_update(w1_a, w1_b, w2_a, w2_b, scale));
        Self::float_matmul(x, Self::float_transpose(weight))
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl AdapterOps for burn::backend::Cube {}

impl<B: AdapterOps, C: CheckpointStrategy> AdapterOps for Autodiff<B, C> {
    fn hadamard_update(
        w1_a: FloatTensor<Self>,
        w1_b: FloatTensor<Self>,
        w2_a: FloatTensor<Self>,
        w2_b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        HadamardUpdate { scale }.record::<C>([w1_a, w1_b, w2_a, w2_b])
    }

    fn hadamard_linear(
        x: FloatTensor<Self>,
        w0: FloatTensor<Self>,
        w1_a: FloatTensor<Self>,
        w1_b: FloatTensor<Self>,
        w2_a: FloatTensor<Self>,
        w2_b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        HadamardLinear { scale }.record::<C>([x, w0, w1_a, w1_b, w2_a, w2_b])
    }
}

/// A Hadamard product of two thin products: rank $r_1 r_2$ from the parameters of rank $r_1 + r_2$.
///
/// $$\Delta W = s (W_{1a} W_{1b}) \odot (W_{2a} W_{2b})$$
///
/// ```text
/// w1_a [out, r1]  w1_b [r1, in]  w2_a [out, r2]  w2_b [r2, in]  ->  [out, in]
/// ```
///
/// The graph keeps the four factors. Source: arXiv:2309.14859, after FedPara (arXiv:2108.06098).
pub fn hadamard_update([w1_a, w1_b, w2_a, w2_b]: [Tensor<2>; 4], scale: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as AdapterOps>::hadamard_update(
        w1_a.into_dispatch(),
        w1_b.into_dispatch(),
        w2_a.into_dispatch(),
        w2_b.into_dispatch(),
        scale,
    ))
}

/// A whole linear layer with a [Hadamard update](hadamard_update) on its weight.
///
/// $$y = x \bigl(W_0 + s (W_{1a} W_{1b}) \odot (W_{2a} W_{2b})\bigr)^\top$$
///
/// ```text
/// x [n, in]  w0 [out, in]  factors as in hadamard_update  ->  [n, out]
/// ```
///
/// The graph keeps the input, the factors and the frozen weight that exists anyway; the backward
/// pass builds the adapted weight once more.
pub fn hadamard_linear(
    x: Tensor<2>,
    w0: Tensor<2>,
    [w1_a, w1_b, w2_a, w2_b]: [Tensor<2>; 4],
    scale: f64,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as AdapterOps>::hadamard_linear(
        x.into_dispatch(),
        w0.into_dispatch(),
        w1_a.into_dispatch(),
        w1_b.into_dispatch(),
        w2_a.into_dispatch(),
        w2_b.into_dispatch(),
        scale,
    ))
}

#[cfg(all(test, feature = "flex"))]
mod tests;
