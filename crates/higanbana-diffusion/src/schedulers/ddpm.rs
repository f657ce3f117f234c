//! The process of training, backwards: with fresh noise in every step.

use burn::tensor::Tensor;

use super::{
    NoiseSchedule, NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    noise::shares,
};
use crate::ModelError;

/// With $\alpha = \bar\alpha_t/\bar\alpha_s$ for the next time $s$ and $\beta = 1-\alpha$,
///
/// $$x_s = \frac{\sqrt{\bar\alpha_s} \beta}{1-\bar\alpha_t} x_0
///       + \frac{\sqrt\alpha (1-\bar\alpha_s)}{1-\bar\alpha_t} x_t
///       + \sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}\beta} n.$$
#[derive(Debug)]
struct Ddpm {
    times: Vec<f64>,
    noise: NoiseSchedule,
    prediction: Prediction,
    clip: Option<f64>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    s.only("variance_type", "fixed_small")?;
    let spacing = s.spacing(Spacing::Leading)?;
    let zero_snr = s.take("rescale_betas_zero_snr", false)?;
    Ok(Box::new(Ddpm {
        times: rounded(s.times(steps, spacing)?),
        noise: s.noise(zero_snr)?,
        prediction: s.prediction()?,
        clip: s.clip(true)?,
    }))
}

/// Linspaced times, rounded.
pub(super) fn rounded(times: Vec<f64>) -> Vec<f64> {
    times.into_iter().map(f64::round_ties_even).collect()
}

/// A predicted image, cut to a range where a scheduler does that.
pub(super) fn clipped(image: Tensor<4>, range: Option<f64>) -> Tensor<4> {
    match range {
        Some(range) => image.clamp(-range, range),
        None => image,
    }
}

impl Scheduler for Ddpm {
    fn times(&self) -> &[f64] {
        &self.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: NoiseSource,
    ) -> Tensor<4> {
        let time = self.times[step] as usize;
        let alpha_t = self.noise.alpha(time);
        let alpha_s = self.times.get(step + 1).map_or(1.0, |&s| self.noise.alpha(s as usize));
        let (alpha, rest) = (alpha_t / alpha_s, 1.0 - alpha_t);
        let beta = 1.0 - alpha;

        let image = self.prediction.image(shares(alpha_t), &sample, &output);
        let image = clipped(image, self.clip);
        let mean = combine([
            (alpha_s.sqrt() * beta / rest, image),
            (alpha.sqrt() * (1.0 - alpha_s) / rest, sample),
        ]);
        if time == 0 {
            return mean;
        }
        let variance = ((1.0 - alpha_s) / rest * beta).max(1e-20);
        combine([(1.0, mean), (variance.sqrt(), noise(&output))])
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        noised(&self.noise, self.times[step], image, noise)
    }
}

/// $\sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t} n$.
pub(super) fn noised(
    schedule: &NoiseSchedule,
    time: f64,
    image: Tensor<4>,
    noise: Tensor<4>,
) -> Tensor<4> {
    let [a, b] = schedule.shares(time as usize);
    combine([(a, image), (b, noise)])
}
