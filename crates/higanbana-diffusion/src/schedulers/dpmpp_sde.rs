//! DPM-Solver++ of one step for the stochastic equation: the model is asked twice for each step but the
//! last, half way for the second time.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    sigmas::{Level, Levels, ancestral, times_of},
};
use crate::ModelError;

/// On $x = x_0 + \sigma n$, with the level $\bar\sigma = \sqrt{\sigma \sigma'}$ half way in $\ln\sigma$ and an
/// [ancestral] step to each, of which $k = \sigma_\downarrow / \sigma$ is kept,
///
/// $$\bar x = \bar k x + (1 - \bar k) x_0 + \bar\sigma_\uparrow n, \quad
/// x' = k' x + (1 - k') \bar x_0 + \sigma'_\uparrow n'$$
///
/// where $\bar x_0$ is the image that the model sees in $\bar x$, and $n$ and $n'$ are the increments of
/// one Brownian motion in $\sigma$ from the begin of the step, each divided by its deviation.
#[derive(Debug)]
struct DpmSde {
    levels: Levels,
    /// The time of each call.
    times: Vec<f64>,
    spacing: Spacing,
    prediction: Prediction,
    /// The sample before the step that is half done, and the noise that it drew.
    half: Option<[Tensor<4>; 2]>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let noise = s.noise_or(false, (0.00085, 0.012, "linear"))?;
    let levels = Levels::spaced(&mut s, &noise, steps, spacing)?;
    let between: Vec<f64> =
        levels.sigmas.windows(2).map(|pair| half_way(pair[0], pair[1])).collect();
    let between = times_of(&noise, &between).into_iter().map(Some).chain([None]);
    let pairs = levels.times.iter().zip(between);
    let times = pairs.flat_map(|(time, between)| std::iter::once(*time).chain(between)).collect();
    let (levels, prediction) = (levels.ending(0.0), s.prediction()?);
    Ok(Box::new(DpmSde { levels, times, spacing, prediction, half: None }))
}

/// The level between two in the logarithm.
fn half_way(sigma: f64, next: f64) -> f64 {
    (0.5 * (sigma.ln() + next.ln())).exp()
}

impl DpmSde {
    /// The level of the step of a call, the next one, and the one between.
    fn step_of(&self, call: usize) -> [f64; 3] {
        let [sigma, next] = [0, 1].map(|more| self.levels.sigmas[call / 2 + more]);
        [sigma, next, half_way(sigma, next)]
    }

    /// The level of the sample before a call.
    fn level(&self, call: usize) -> f64 {
        let [sigma, _, between] = self.step_of(call);
        if call.is_multiple_of(2) { sigma } else { between }
    }
}

impl Scheduler for DpmSde {
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
        noise: NoiseSource,
    ) -> Tensor<4> {
        let [sigma, next, between] = self.step_of(call);
        let image = self.prediction.image_under(self.level(call), &sample, &output);
        if next == 0.0 {
            return image;
        }
        let drawn = noise(&output);
        let towards = |from: Tensor<4>, to: f64, noise: Tensor<4>| {
            let (up, down) = ancestral(sigma, to);
            let kept = down / sigma;
            combine([(kept, from), (1.0 - kept, image.clone()), (up, noise)])
        };
        match self.half.take() {
            None => {
                self.half = Some([sample.clone(), drawn.clone()]);
                towards(sample, between, drawn)
            }
            Some([before, first]) => {
                // The motion goes on from where it was half way.
                let share = (sigma - between) / (sigma - next);
                let both = [(share.sqrt(), first), ((1.0 - share).sqrt(), drawn)];
                towards(before, next, combine(both))
            }
        }
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, call: usize) -> Tensor<4> {
        combine([(1.0, image), (self.levels.sigmas[call.div_ceil(2)], noise)])
    }
}
