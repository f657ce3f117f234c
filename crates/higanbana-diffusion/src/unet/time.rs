//! Time as a vector.

use burn::{
    module::Module,
    nn::LinearConfig,
    tensor::{DType, Device, Tensor, activation::silu},
};
use higanbana_adapters::layers::Linear;

/// How a number becomes a vector of waves (arXiv:1706.03762), with $h$ half of the width:
///
/// $$e_i(t) = \cos(t \omega_i), \quad e_{h+i}(t) = \sin(t \omega_i), \quad
/// \omega_i = 10000^{-i/(h - shift)}, \quad i = 0 \ldots h-1.$$
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sinusoid {
    /// Whether the cosines come first, as in every published model.
    pub cosine_first: bool,
    /// Shift of the exponent's denominator.
    pub shift: f64,
}

impl Sinusoid {
    /// `[n]` to `[n, width]`, in f32 whatever the model computes in: half precision cannot even hold
    /// the times.
    ///
    /// # Panics
    /// When the width is odd.
    pub fn embed(&self, times: Tensor<1>, width: usize) -> Tensor<2> {
        assert!(
            width.is_multiple_of(2),
            "a sinusoid has as many cosines as sines, not {width} waves"
        );
        let half = width / 2;
        // In f32 and in this order, as PyTorch: at t = 999 an ulp of ω is seen in the result.
        let log = -(10000f64.ln() as f32);
        let denominator = (half as f64 - self.shift) as f32;
        let omega: Vec<f32> = (0..half).map(|i| (log * i as f32 / denominator).exp()).collect();
        let omega = Tensor::<1>::from_floats(omega.as_slice(), &times.device());
        let angles = times.unsqueeze_dim::<2>(1) * omega.unsqueeze_dim::<2>(0);
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        Tensor::cat(if self.cosine_first { vec![cos, sin] } else { vec![sin, cos] }, 1)
    }
}

/// Two linear layers: `[n, waves]` to `[n, width]`.
///
/// $$ W_2 silu(W_1 (e + W_c g) + b_1) + b_2 $$
///
/// with $g$ a second vector that the waves are shifted by, where there is one: LCM's [`guidance`].
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub(super) fn new(
        waves: usize,
        width: usize,
        condition: Option<usize>,
        device: &Device,
    ) -> Self {
        let shift = |condition| LinearConfig::new(condition, waves).with_bias(false);
        Self {
            cond_proj: condition.map(|condition| Linear::new(&shift(condition), device)),
            linear_1: Linear::new(&LinearConfig::new(waves, width), device),
            linear_2: Linear::new(&LinearConfig::new(width, width), device),
        }
    }

    /// `[n, waves]` to `[n, width]`; the condition is `[n, condition]`.
    pub fn forward(&self, waves: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
        let waves = match (&self.cond_proj, condition) {
            (Some(projection), Some(condition)) => waves + projection.forward(condition),
            _ => waves,
        };
        self.linear_2.forward(silu(self.linear_1.forward(waves)))
    }
}

/// A guidance scale as the vector that a model distilled with guidance is told it by, `[1, width]`
/// (arXiv:2310.04378): the waves of $1000 (scale - 1)$, sines first.
pub fn guidance(scale: f64, width: usize, device: &Device) -> Tensor<2> {
    let scale = Tensor::from_data([((scale - 1.0) * 1000.0) as f32], (device, DType::F32));
    Sinusoid { cosine_first: false, shift: 1.0 }.embed(scale, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_by_hand() {
        let times = Tensor::from_floats([0.0, 100.0], &Device::default());
        let waves = Sinusoid { cosine_first: true, shift: 0.0 }.embed(times.clone(), 4);
        // ω = 1, 1/100
        let (a, b) = (100f64, 1f64);
        let expected = [1.0, 1.0, 0.0, 0.0, a.cos(), b.cos(), a.sin(), b.sin()];
        for (found, expected) in waves.to_data().iter::<f64>().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let swapped = Sinusoid { cosine_first: false, shift: 1.0 }.embed(times, 4);
        // ω = 1, 1/10000
        let expected = [0.0, 0.0, 1.0, 1.0, a.sin(), 0.01f64.sin(), a.cos(), 0.01f64.cos()];
        for (found, expected) in swapped.to_data().iter::<f64>().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
