//! The noise that a model was trained to remove.

use burn::tensor::Tensor;

use super::combine;

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise $n$.
    Epsilon,
    /// The velocity $v = \sqrt{\bar\alpha} n - \sqrt{1-\bar\alpha} x_0$ (arXiv:2202.00512).
    Velocity,
}

impl Prediction {
    /// The image $x_0$ that a prediction means, with $a = \sqrt{\bar\alpha}$ and
    /// $b = \sqrt{1-\bar\alpha}$.
    pub(super) fn image(
        self,
        [a, b]: [f64; 2],
        sample: &Tensor<4>,
        output: &Tensor<4>,
    ) -> Tensor<4> {
        let coefficients = match self {
            Self::Epsilon => [1.0 / a, -b / a],
            Self::Velocity => [a, -b],
        };
        combine([(coefficients[0], sample.clone()), (coefficients[1], output.clone())])
    }

    /// The image under noise of the level $\sigma$, of the exploding form $x = x_0 + \sigma n$.
    ///
    /// In this order, as the reference: where there is no signal σ is 4096, x and a step all but
    /// cancel, and what is left shows every rounding.
    pub(super) fn image_under(
        self,
        sigma: f64,
        sample: &Tensor<4>,
        output: &Tensor<4>,
    ) -> Tensor<4> {
        let (sample, output) = (sample.clone(), output.clone());
        match self {
            Self::Epsilon => combine([(1.0, sample), (-sigma, output)]),
            Self::Velocity => {
                let square = sigma.powi(2) + 1.0;
                combine([(-sigma / square.sqrt(), output), (1.0 / square, sample)])
            }
        }
    }

    /// The noise that a prediction means.
    pub(super) fn noise(
        self,
        [a, b]: [f64; 2],
        sample: &Tensor<4>,
        output: &Tensor<4>,
    ) -> Tensor<4> {
        match self {
            Self::Epsilon => output.clone(),
            Self::Velocity => combine([(a, output.clone()), (b, sample.clone())]),
        }
    }
}

/// $\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)$: the share of the image at each time.
///
/// Computed in f32, as PyTorch does: at late times $\bar\alpha$ is small, and what is divided by it
/// shows every rounding.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseSchedule {
    alphas: Vec<f32>,
}

impl NoiseSchedule {
    /// The schedule of these $\beta$.
    pub fn new(betas: &[f32]) -> Self {
        Self { alphas: products(betas.iter().map(|beta| 1.0 - beta)) }
    }

    /// The schedule of SD's training: $\beta$ from 0.00085 to 0.012, linear in the root, 1000 times.
    pub fn stable_diffusion() -> Self {
        Self::new(&scaled_linear([0.00085, 0.012], 1000))
    }

    /// Shifted and scaled so that nothing of the image is left at the last time
    /// (arXiv:2305.08891, algorithm 1): $\sqrt{\bar\alpha} \leftarrow
    /// (\sqrt{\bar\alpha} - \sqrt{\bar\alpha_T}) \frac{\sqrt{\bar\alpha_0}}{\sqrt{\bar\alpha_0} - \sqrt{\bar\alpha_T}}$.
    #[must_use]
    pub fn zero_terminal_snr(self) -> Self {
        let roots: Vec<f32> = self.alphas.iter().map(|alpha| alpha.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let scale = first / (first - last);
        let bars: Vec<f32> = roots.iter().map(|root| ((root - last) * scale).powi(2)).collect();
        // Through the betas and back, as the reference: the roundings are the same then.
        let ratios = (0..bars.len()).map(|i| if i == 0 { bars[0] } else { bars[i] / bars[i - 1] });
        Self { alphas: products(ratios.map(|alpha| 1.0 - (1.0 - alpha))) }
    }

    /// With next to nothing of the image left at the last time, for those that divide by it.
    #[must_use]
    pub(super) fn finite(mut self) -> Self {
        *self.alphas.last_mut().expect("a schedule has times") = NEXT_TO_NOTHING.0;
        self
    }

    /// Number of times.
    pub fn len(&self) -> usize {
        self.alphas.len()
    }

    /// Whether there are no times.
    pub fn is_empty(&self) -> bool {
        self.alphas.is_empty()
    }

    /// $\bar\alpha_t$.
    ///
    /// # Panics
    /// When there is no such time.
    pub fn alpha(&self, time: usize) -> f64 {
        f64::from(self.alphas[time])
    }

    /// $\sqrt{\bar\alpha_t}$ and $\sqrt{1 - \bar\alpha_t}$.
    pub fn shares(&self, time: usize) -> [f64; 2] {
        shares(self.alpha(time))
    }

    /// The ratio of signal to noise, $\bar\alpha_t / (1 - \bar\alpha_t)$.
    pub fn snr(&self, time: usize) -> f64 {
        let alpha = self.alpha(time);
        alpha / (1.0 - alpha)
    }

    /// $\sigma_t = \sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}$ of every time.
    pub fn sigmas(&self) -> Vec<f32> {
        let sigma = |alpha: &f32| match *alpha == NEXT_TO_NOTHING.0 {
            true => NEXT_TO_NOTHING.1,
            false => ((1.0 - alpha) / alpha).sqrt(),
        };
        self.alphas.iter().map(sigma).collect()
    }

    /// Images with noise, each at its own time: `[batch, channels, h, w]` and as many times.
    ///
    /// # Panics
    /// When the number of times is not the batch.
    pub fn add_noise(&self, images: Tensor<4>, noise: Tensor<4>, times: &[usize]) -> Tensor<4> {
        let [a, b] = self.columns(&images, times);
        images * a + noise * b
    }

    /// What a model of [`Prediction::Velocity`] learns to predict there.
    ///
    /// # Panics
    /// As [`Self::add_noise`].
    pub fn velocity(&self, images: Tensor<4>, noise: Tensor<4>, times: &[usize]) -> Tensor<4> {
        let [a, b] = self.columns(&images, times);
        noise * a - images * b
    }

    fn columns(&self, like: &Tensor<4>, times: &[usize]) -> [Tensor<4>; 2] {
        assert_eq!(like.dims()[0], times.len(), "one time for each sample of the batch");
        [0, 1].map(|i| {
            let column: Vec<f32> = times.iter().map(|&time| self.shares(time)[i] as f32).collect();
            let column = Tensor::<1>::from_floats(column.as_slice(), &like.device());
            column.cast(like.dtype()).reshape([times.len(), 1, 1, 1])
        })
    }
}

/// $\bar\alpha = 2^{-24}$ and its σ, 4095.99988, rounded as PyTorch rounds it.
const NEXT_TO_NOTHING: (f32, f32) = (1.0 / 16_777_216.0, 4096.0);

/// $\sqrt\alpha$ and $\sqrt{1-\alpha}$.
pub(super) fn shares(alpha: f64) -> [f64; 2] {
    [alpha.sqrt(), (1.0 - alpha).sqrt()]
}

/// Running products, accumulated in f64.
fn products(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut product = 1f64;
    let running = factors.map(|factor| {
        product *= f64::from(factor);
        product as f32
    });
    running.collect()
}

/// $\beta$ from `start` to `end` in equal steps; from both ends, as PyTorch.
pub(super) fn linear([start, end]: [f64; 2], count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count - 1) as f32;
    let at = |i: usize| match i < count / 2 {
        true => start + step * i as f32,
        false => end - step * (count - 1 - i) as f32,
    };
    (0..count).map(at).collect()
}

/// The same with $\sqrt\beta$ in equal steps.
pub(super) fn scaled_linear(range: [f64; 2], count: usize) -> Vec<f32> {
    linear(range.map(f64::sqrt), count).into_iter().map(|root| root * root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_of_stable_diffusion() {
        let noise = NoiseSchedule::stable_diffusion();
        for (time, alpha) in [(0, 0.999_149_98), (499, 0.277_669_43), (999, 0.004_660_1)] {
            assert!((noise.alpha(time) - alpha).abs() < 1e-7, "{}", noise.alpha(time));
        }
        assert!((noise.snr(0) - 1175.44).abs() < 0.1);
        let sigmas = noise.sigmas();
        assert!((sigmas[0] - 0.029_167_5).abs() < 1e-6 && (sigmas[999] - 14.6146).abs() < 1e-4);
    }

    #[test]
    fn nothing_is_left_at_the_last_time() {
        let noise = NoiseSchedule::stable_diffusion().zero_terminal_snr();
        assert_eq!(noise.alpha(999), 0.0);
        assert!((noise.alpha(499) - 0.242_359).abs() < 1e-6);
        assert!((noise.alpha(998) / 1.968e-7 - 1.0).abs() < 1e-3);
        let before = NoiseSchedule::stable_diffusion().alpha(0);
        assert!((noise.alpha(0) - before).abs() < 1e-7);
    }
}
