//! Euler's method on the levels of noise, plain and ancestral.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    sigmas::{Level, Levels, final_sigma},
};
use crate::ModelError;

/// On $x = x_0 + \sigma n$, from level $\sigma$ to the next level $\sigma'$,
///
/// $$x' = x + \frac{x - x_0}{\sigma}(\sigma_\downarrow - \sigma) + \sigma_\uparrow n$$
///
/// where plain Euler has $\sigma_\downarrow = \sigma'$ and $\sigma_\uparrow = 0$, and the ancestral
/// one $\sigma_\uparrow^2 = \sigma'^2 (\sigma^2 - \sigma'^2)/\sigma^2$ and
/// $\sigma_\downarrow^2 = \sigma'^2 - \sigma_\uparrow^2$.
#[derive(Debug)]
struct Euler {
    levels: Levels,
    spacing: Spacing,
    prediction: Prediction,
    ancestral: bool,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    s.only("interpolation_type", "linear")?;
    s.only("timestep_type", "discrete")?;
    s.only("sigma_min", serde_json::Value::Null)?;
    s.only("sigma_max", serde_json::Value::Null)?;
    s.only_false(&["use_exponential_sigmas", "use_beta_sigmas"])?;
    let karras: bool = s.take("use_karras_sigmas", false)?;
    let spacing = s.spacing(Spacing::Linspace)?;
    let times = s.times(steps, spacing)?;
    let noise = s.finite_noise()?;
    let last = final_sigma(&mut s, &noise)?;
    let mut levels = Levels::at(&noise, single(times));
    if karras {
        let ends = [levels.sigmas[0], levels.sigmas[levels.sigmas.len() - 1]];
        levels = Levels::karras(&noise, ends, steps);
        levels.times = single(levels.times);
    }
    let levels = levels.ending(last);
    Ok(Box::new(Euler { levels, spacing, prediction: s.prediction()?, ancestral: false }))
}

pub(super) fn make_ancestral(
    mut s: Settings,
    steps: usize,
) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let times = s.times(steps, spacing)?;
    let noise = s.finite_noise()?;
    let levels = Levels::at(&noise, single(times)).ending(0.0);
    Ok(Box::new(Euler { levels, spacing, prediction: s.prediction()?, ancestral: true }))
}

/// Times that are no integers, as f32: so they reach the model in the reference.
fn single(times: Vec<f64>) -> Vec<f64> {
    times.into_iter().map(|time| f64::from(time as f32)).collect()
}

/// $\sigma_\uparrow$ and $\sigma_\downarrow$. In f64, other than the reference, where the difference
/// of squares loses most of its digits if the level falls by much.
fn split(sigma: f64, next: f64) -> (f64, f64) {
    let (sigma, next) = (sigma.powi(2), next.powi(2));
    let up = next * (sigma - next) / sigma;
    (up.sqrt(), (next - up).sqrt())
}

impl Scheduler for Euler {
    fn times(&self) -> &[f64] {
        &self.levels.times
    }

    fn initial_deviation(&self) -> f64 {
        let largest = self.levels.largest();
        match self.spacing {
            Spacing::Leading => (largest * largest + 1.0).sqrt(),
            Spacing::Trailing | Spacing::Linspace => largest,
        }
    }

    fn shown(&self, sample: Tensor<4>, step: usize) -> Tensor<4> {
        sample.mul_scalar(Level::from(self.levels.sigmas[step]).a)
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: NoiseSource,
    ) -> Tensor<4> {
        let (sigma, next) = (self.levels.sigmas[step], self.levels.sigmas[step + 1]);
        let (up, down) = if self.ancestral { split(sigma, next) } else { (0.0, next) };
        // In this order, as the reference: where there is no signal σ is 4096, x and the step all but
        // cancel, and what is left shows every rounding.
        let image = match self.prediction {
            Prediction::Epsilon => combine([(1.0, sample.clone()), (-sigma, output.clone())]),
            Prediction::Velocity => {
                let square = sigma.powi(2) + 1.0;
                let shares = [-sigma / square.sqrt(), 1.0 / square];
                combine([(shares[0], output.clone()), (shares[1], sample.clone())])
            }
        };
        let slope = (sample.clone() - image).div_scalar(sigma);
        let moved = combine([(1.0, sample), (down - sigma, slope)]);
        match self.ancestral {
            true => combine([(1.0, moved), (up, noise(&output))]),
            false => moved,
        }
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        combine([(1.0, image), (self.levels.sigmas[step], noise)])
    }
}
