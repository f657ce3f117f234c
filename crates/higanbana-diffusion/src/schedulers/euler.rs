//! Euler's method on the levels of noise, plain and ancestral.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    sigmas::{Level, Levels, ancestral, final_sigma},
};
use crate::ModelError;

/// On $x = x_0 + \sigma n$, from level $\sigma$ to the next level $\sigma'$,
///
/// $$x' = x + \frac{x - x_0}{\sigma}(\sigma_\downarrow - \sigma) + \sigma_\uparrow n$$
///
/// where plain Euler has $\sigma_\downarrow = \sigma'$ and $\sigma_\uparrow = 0$, and the ancestral
/// one both [so](ancestral) that the level is $\sigma'$ again.
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
    let spacing = s.spacing(Spacing::Linspace)?;
    let noise = s.finite_noise()?;
    let last = final_sigma(&mut s, &noise)?;
    let levels = Levels::spaced(&mut s, &noise, steps, spacing)?.ending(last);
    Ok(Box::new(Euler { levels, spacing, prediction: s.prediction()?, ancestral: false }))
}

pub(super) fn make_ancestral(
    mut s: Settings,
    steps: usize,
) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let noise = s.finite_noise()?;
    let levels = Levels::plain(&mut s, &noise, steps, spacing)?.ending(0.0);
    Ok(Box::new(Euler { levels, spacing, prediction: s.prediction()?, ancestral: true }))
}

impl Scheduler for Euler {
    fn times(&self) -> &[f64] {
        &self.levels.times
    }

    fn initial_deviation(&self) -> f64 {
        self.levels.initial_deviation(self.spacing)
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
        let (up, down) = if self.ancestral { ancestral(sigma, next) } else { (0.0, next) };
        let image = self.prediction.image_under(sigma, &sample, &output);
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
