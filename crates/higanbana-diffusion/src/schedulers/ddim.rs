//! DDIM: the same process without fresh noise.

use burn::tensor::Tensor;

use super::{
    NoiseSchedule, NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    ddpm::{clipped, noised, rounded},
    noise::shares,
};
use crate::ModelError;

/// $$x_s = \sqrt{\bar\alpha_s} x_0 + \sqrt{1-\bar\alpha_s} n$$
///
/// with the image and the noise that the model sees in $x_t$, and $s$ a step before $t$.
#[derive(Debug)]
struct Ddim {
    times: Vec<f64>,
    /// Distance of neighbouring times.
    ratio: usize,
    /// $\bar\alpha$ of the result.
    last: f64,
    noise: NoiseSchedule,
    prediction: Prediction,
    clip: Option<f64>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Leading)?;
    let zero_snr = s.take("rescale_betas_zero_snr", false)?;
    let times = rounded(s.times(steps, spacing)?);
    let noise = s.noise(zero_snr)?;
    Ok(Box::new(Ddim {
        times,
        ratio: noise.len() / steps,
        last: if s.take("set_alpha_to_one", true)? { 1.0 } else { noise.alpha(0) },
        noise,
        prediction: s.prediction()?,
        clip: s.clip(true)?,
    }))
}

impl Scheduler for Ddim {
    fn times(&self) -> &[f64] {
        &self.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        _noise: NoiseSource,
    ) -> Tensor<4> {
        let time = self.times[step] as usize;
        let before = time.checked_sub(self.ratio);
        let [a, b] = shares(before.map_or(self.last, |time| self.noise.alpha(time)));
        let here = self.noise.shares(time);
        let image = clipped(self.prediction.image(here, &sample, &output), self.clip);
        combine([(a, image), (b, self.prediction.noise(here, &sample, &output))])
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        noised(&self.noise, self.times[step], image, noise)
    }
}
