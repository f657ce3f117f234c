//! Latent consistency models: the image at once, then less noise on it.

use burn::tensor::Tensor;

use super::{
    NoiseSchedule, NoiseSource, Prediction, Scheduler, combine,
    config::Settings,
    ddpm::{clipped, noised},
};
use crate::ModelError;

/// With $\tau = t \cdot scaling$,
///
/// $$y = \frac{\tau}{\sqrt{\tau^2 + 1/4}} x_0 + \frac{1/4}{\tau^2 + 1/4} x_t, \quad
/// x_s = \sqrt{\bar\alpha_s} y + \sqrt{1-\bar\alpha_s} n,$$
///
/// and the last $y$ is the result.
#[derive(Debug)]
struct Lcm {
    times: Vec<f64>,
    noise: NoiseSchedule,
    prediction: Prediction,
    clip: Option<f64>,
    scaling: f64,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let zero_snr = s.take("rescale_betas_zero_snr", false)?;
    let original: usize = s.take("original_inference_steps", 50)?;
    let count = s.train_steps()?;
    if steps > original || original > count {
        let reason = format!("are {steps}; this model was distilled to {original}");
        return Err(ModelError::input("steps", reason));
    }
    // Of the times that the model was distilled on, the latest first, as many in equal distances.
    let ratio = count / original;
    let distance = original as f64 / steps as f64;
    let index = |i: usize| (i as f64 * distance).floor() as usize;
    let times = (0..steps).map(|i| ((original - index(i)) * ratio - 1) as f64);
    Ok(Box::new(Lcm {
        times: times.collect(),
        noise: s.noise_or(zero_snr, (0.00085, 0.012, "scaled_linear"))?,
        prediction: s.prediction()?,
        clip: s.clip(false)?,
        scaling: s.take("timestep_scaling", 10.0)?,
    }))
}

impl Scheduler for Lcm {
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
        let time = self.times[step];
        let shares = self.noise.shares(time as usize);
        let image = clipped(self.prediction.image(shares, &sample, &output), self.clip);
        let (tau, quarter) = (time * self.scaling, 0.25);
        let square = tau * tau + quarter;
        let image = combine([(tau / square.sqrt(), image), (quarter / square, sample)]);
        match self.times.get(step + 1) {
            None => image,
            Some(&next) => noised(&self.noise, next, image, noise(&output)),
        }
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        noised(&self.noise, self.times[step], image, noise)
    }
}
