//! Heun's method on the levels of noise: the model is asked twice for each step but the last.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    ddpm::clipped,
    sigmas::{Level, Levels},
};
use crate::ModelError;

/// On $x = x_0 + \sigma n$ with the slope $d = (x - x_0)/\sigma$, first Euler's step to the next level,
/// $\tilde x = x + d (\sigma' - \sigma)$; then, with the slope $\tilde d$ there,
/// $x' = x + \frac{d + \tilde d}{2} (\sigma' - \sigma)$.
#[derive(Debug)]
struct Heun {
    levels: Levels,
    /// The time of each call.
    times: Vec<f64>,
    spacing: Spacing,
    prediction: Prediction,
    clip: Option<f64>,
    /// The sample before the step that is half done, and the slope there.
    half: Option<[Tensor<4>; 2]>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let noise = s.noise_or(false, (0.00085, 0.012, "linear"))?;
    let levels = Levels::spaced(&mut s, &noise, steps, spacing)?.ending(0.0);
    let twice = levels.times.iter().flat_map(|time| [*time; 2]);
    let times = twice.skip(1).collect();
    let (prediction, clip) = (s.prediction()?, s.clip(false)?);
    Ok(Box::new(Heun { levels, times, spacing, prediction, clip, half: None }))
}

impl Heun {
    /// The level of the sample before a call.
    fn level(&self, call: usize) -> f64 {
        self.levels.sigmas[call.div_ceil(2)]
    }
}

impl Scheduler for Heun {
    fn times(&self) -> &[f64] {
        &self.times
    }

    fn calls(&self) -> usize {
        2
    }

    fn initial_deviation(&self) -> f64 {
        self.levels.initial_deviation(self.spacing)
    }

    fn shown(&self, sample: Tensor<4>, call: usize) -> Tensor<4> {
        sample.mul_scalar(Level::from(self.level(call)).a)
    }

    fn step(
        &mut self,
        call: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        _noise: NoiseSource,
    ) -> Tensor<4> {
        let level = self.level(call);
        let image = clipped(self.prediction.image_under(level, &sample, &output), self.clip);
        let slope = (sample.clone() - image).div_scalar(level);
        let width = self.levels.sigmas[call / 2 + 1] - self.levels.sigmas[call / 2];
        match self.half.take() {
            Some([before, first]) => {
                let both = (first + slope).div_scalar(2.0);
                combine([(1.0, before), (width, both)])
            }
            None => {
                self.half = Some([sample.clone(), slope.clone()]);
                combine([(1.0, sample), (width, slope)])
            }
        }
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, call: usize) -> Tensor<4> {
        combine([(1.0, image), (self.level(call), noise)])
    }
}
