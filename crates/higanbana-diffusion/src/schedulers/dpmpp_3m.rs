//! DPM-Solver++ of order three for the stochastic equation, as k-diffusion has it: diffusers' own formula
//! of this order has a sign that makes it differ.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::Settings,
    dpmpp::{spaced, stirred},
    sigmas::{Level, Levels},
};
use crate::ModelError;

/// With $h$ the width of the step in $\lambda$, $\varphi_2 = 1 + \frac{e^{-2h} - 1}{2h}$ and
/// $\varphi_3 = \frac{\varphi_2}{2h} - \frac12$,
///
/// $$x' = \frac{b'}{b} e^{-h} x
///      + a' \big((1 - e^{-2h}) x_0 + \varphi_2 D_1 - \varphi_3 D_2\big)
///      + b' \sqrt{1 - e^{-2h}} n$$
///
/// where $D_1$ and $D_2$ are the differences of the images so far, in units of the step: none in the
/// first, one in the second.
#[derive(Debug)]
struct Dpm3 {
    levels: Levels,
    prediction: Prediction,
    /// Images of the steps before, the latest first.
    images: Vec<Tensor<4>>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    s.only("thresholding", false)?;
    let levels = spaced(&mut s, steps)?;
    Ok(Box::new(Dpm3 { levels, prediction: s.prediction()?, images: Vec::new() }))
}

impl Dpm3 {
    fn level(&self, step: usize) -> Level {
        Level::from(self.levels.sigmas[step])
    }

    /// Width of a step in $\lambda$.
    fn width(&self, step: usize) -> f64 {
        self.level(step + 1).lambda - self.level(step).lambda
    }

    /// $\varphi_2 D_1 - \varphi_3 D_2$.
    fn curvature(&self, step: usize, image: &Tensor<4>) -> Option<Tensor<4>> {
        let h = self.width(step);
        let second = 1.0 + (-2.0 * h).exp_m1() / (2.0 * h);
        let third = second / (2.0 * h) - 0.5;
        let difference = |newer: &Tensor<4>, older: &Tensor<4>, ratio: f64| {
            (newer.clone() - older.clone()).div_scalar(ratio)
        };
        match &self.images[..] {
            [] => None,
            [one] => {
                let slope = difference(image, one, self.width(step - 1) / h);
                Some(slope.mul_scalar(second))
            }
            [one, two, ..] => {
                let [r0, r1] = [1, 2].map(|back| self.width(step - back) / h);
                let slopes = [difference(image, one, r0), difference(one, two, r1)];
                let bend = (slopes[0].clone() - slopes[1].clone()).div_scalar(r0 + r1);
                let [slope, _] = slopes;
                Some(combine([(second, slope), (second * r0 - third, bend)]))
            }
        }
    }
}

impl Scheduler for Dpm3 {
    fn times(&self) -> &[f64] {
        &self.levels.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: NoiseSource,
    ) -> Tensor<4> {
        let (here, next) = (self.level(step), self.level(step + 1));
        let image = self.prediction.image([here.a, here.b], &sample, &output);
        let h = next.lambda - here.lambda;
        // A configuration may have the smallest level twice.
        match (next.b, h) {
            (0.0, _) => return image,
            (_, 0.0) => return sample,
            _ => {}
        }
        let (kept, taken) = ((-h).exp() * next.b / here.b, -(-2.0 * h).exp_m1());
        let mut mean = combine([(kept, sample), (next.a * taken, image.clone())]);
        if let Some(curvature) = self.curvature(step, &image) {
            mean = combine([(1.0, mean), (next.a, curvature)]);
        }
        self.images.insert(0, image);
        self.images.truncate(2);
        stirred(mean, next.b * taken.sqrt(), &output, noise)
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        let level = self.level(step);
        combine([(level.a, image), (level.b, noise)])
    }
}
