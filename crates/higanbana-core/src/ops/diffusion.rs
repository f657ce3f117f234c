//! The layers that a diffusion model spends its time and memory in.

mod attention;
mod conv;
mod gate;
mod norm;
#[cfg(all(test, feature = "flex"))]
mod tests;

use std::f64::consts::FRAC_1_SQRT_2;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, autodiff::checkpoint::strategy::CheckpointStrategy,
        backend_extension, tensor::FloatTensor,
    },
    tensor::{Tensor, ops::ConvOptions},
};

use super::recompute::Recompute;

/// The default bodies, for a backend that overrides them for some precisions only.
#[cfg(feature = "flex")]
pub(super) mod composed {
    pub(in crate::ops) use super::{
        attention::{composed as attend, composed_backward as attend_backward, merge},
        conv::composed_weight_backward as convolve_weight_backward,
        gate::{composed as gate, composed_backward as gate_backward},
        norm::{composed as normalise, composed_backward as normalise_backward},
    };
}

/// The operations and the backward passes of those that have one of their own.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))
)]
pub trait DiffusionOps: Backend {
    /// See [`attention()`].
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        causal: bool,
    ) -> FloatTensor<Self> {
        attention::composed::<Self>([q, k, v], heads, causal)
    }

    /// Gradients of `q`, `k` and `v` from that of [`DiffusionOps::attend`].
    fn attend_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
        causal: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        attention::composed_backward::<Self>([q, k, v], gradient, heads, causal)
    }

    /// See [`conv2d`].
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, None, options)
    }

    /// Gradient of `x` from that of [`DiffusionOps::convolve`].
    fn convolve_x_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, gradient, options)
    }

    /// Gradient of `weight` from that of [`DiffusionOps::convolve`].
    fn convolve_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        conv::composed_weight_backward::<Self>(x, weight, gradient, options)
    }

    /// See [`geglu`].
    fn gate(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gate::composed::<Self>(x)
    }

    /// Gradient of `x` from that of [`DiffusionOps::gate`].
    fn gate_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        gate::composed_backward::<Self>(x, gradient)
    }

    /// See [`group_norm`].
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self> {
        norm::composed::<Self>([x, gamma, beta], groups, epsilon, silu)
    }

    /// Gradients of `x`, `gamma` and `beta` from that of [`DiffusionOps::normalise`].
    fn normalise_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::composed_backward::<Self>([x, gamma, beta], gradient, groups, epsilon, silu)
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl DiffusionOps for burn::backend::Cube {}

impl<B: DiffusionOps, C: CheckpointStrategy> DiffusionOps for Autodiff<B, C> {
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: usize,
        causal: bool,
    ) -> FloatTensor<Self> {
        attention::Attend { heads, causal }.record::<C>([q, k, v])
    }

    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        conv::Convolve { options }.record::<C>([x, weight])
    }

    fn gate(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gate::Gate.record::<C>([x])
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self> {
        norm::Normalise { groups, epsilon, silu }.record::<C>([x, gamma, beta])
    }
}

/// Attention in each of `heads` slices of the width, $d$ wide (arXiv:1706.03762).
///
/// $$ concat_h softmax\Big(\frac{Q_h K_h^\top}{\sqrt{d}}\Big) V_h $$
///
/// ```text
/// q [batch, n, width]  k [batch, m, width]  v [batch, m, width]  ->  [batch, n, width]
/// ```
///
/// `causal` lets a position see only itself and those before; then $n = m$. The graph keeps the
/// three inputs; the backward pass computes the scores once more, a block of queries at a time.
pub fn attention([q, k, v]: [Tensor<3>; 3], heads: usize, causal: bool) -> Tensor<3> {
    let ([_, n, width], [_, m, _]) = (q.dims(), k.dims());
    assert!(width.is_multiple_of(heads), "{heads} heads cannot share a width of {width}");
    assert!(!causal || n == m, "causal attention of {n} positions to {m}");
    Tensor::from_dispatch(<Dispatch as DiffusionOps>::attend(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        heads,
        causal,
    ))
}

/// A convolution of maps: Burn's, with products of matrices for the gradient of the weight.
///
/// ```text
/// x [batch, in, h, w]  weight [out, in/groups, kh, kw]  bias [out]  ->  [batch, out, h', w']
/// ```
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let (channels, expected) = (x.dims()[1], weight.dims()[1] * options.groups);
    assert!(channels == expected, "a convolution of {expected} channels is given {channels}");
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    let y = Tensor::<4>::from_dispatch(<Dispatch as DiffusionOps>::convolve(x, weight, options));
    match bias {
        Some(bias) => y + bias.reshape([1, -1, 1, 1]),
        None => y,
    }
}

/// $a \mathrm{gelu}(g)$ for $x = (a, g)$ along the last dimension, with the exact GELU
/// $g \Phi(g)$ (arXiv:2002.05202, arXiv:1606.08415).
///
/// ```text
/// x [..., 2 n]  ->  [..., n]
/// ```
///
/// The graph keeps `x` alone.
pub fn geglu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let width = x.dims()[D - 1];
    assert!(width.is_multiple_of(2), "a width of {width} has no two halves");
    Tensor::from_dispatch(<Dispatch as DiffusionOps>::gate(x.into_dispatch()))
}

/// $x \Phi(x)$, the exact GELU (arXiv:1606.08415), with its exact gradient: that of Burn's is, but for
/// flex, of the approximation by a hyperbolic tangent, $5 \cdot 10^{-4}$ off.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let below = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    x * below
}

/// Group normalisation (arXiv:1803.08494), and the SiLU that follows it where `silu` says so.
///
/// $$ y = f\Big(\gamma_c \frac{x - \mu_g}{\sqrt{\sigma_g^2 + \epsilon}} + \beta_c\Big),
/// \quad f(u) = u \text{ or } \frac{u}{1 + e^{-u}} $$
///
/// with the mean and the variance of each sample's group of channels.
///
/// ```text
/// x [batch, channels, ...]  gamma [channels]  beta [channels]  ->  [batch, channels, ...]
/// ```
///
/// Half precision is computed in single precision. The graph keeps `x` and the two vectors.
pub fn group_norm<const D: usize>(
    x: Tensor<D>,
    [gamma, beta]: [Tensor<1>; 2],
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> Tensor<D> {
    let channels = x.dims()[1];
    assert!(channels.is_multiple_of(groups), "{groups} groups cannot share {channels} channels");
    Tensor::from_dispatch(<Dispatch as DiffusionOps>::normalise(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        groups,
        epsilon,
        silu,
    ))
}
