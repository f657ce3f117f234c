//! DPM-Solver++: a multistep method of order two, exact where the predicted image is linear in λ.

use burn::tensor::Tensor;
use serde_json::Value;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    sigmas::{Level, Levels, final_sigma},
};
use crate::ModelError;

/// With $x = a x_0 + b n$, $\lambda = \ln(a/b)$ and $h = \lambda' - \lambda$ the width of the step,
///
/// $$x' = \frac{b'}{b} x - a'(e^{-h} - 1) D, \quad
/// D = x_0 + \frac{h}{2 h_-}(x_0 - x_0^-)$$
///
/// where $x_0^-$ and $h_-$ are the image and the width of the step before; the first step, and the
/// last, take $D = x_0$.
#[derive(Debug)]
struct DpmSolver {
    levels: Levels,
    prediction: Prediction,
    order: usize,
    /// Whether the last step is of order one: always where it ends at no noise.
    low_end: bool,
    previous: Option<Tensor<4>>,
}

pub(super) fn make(s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    solver(s, steps, false)
}

pub(super) fn make_karras(s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    solver(s, steps, true)
}

fn solver(mut s: Settings, steps: usize, karras: bool) -> Result<Box<dyn Scheduler>, ModelError> {
    let algorithm: String = s.take("algorithm_type", "dpmsolver++".into())?;
    if !["dpmsolver++", "deis"].contains(&algorithm.as_str()) {
        let reason = format!("is {algorithm}; dpmsolver++ is supported");
        return Err(s.wrong("algorithm_type", reason));
    }
    let solver: String = s.take("solver_type", "midpoint".into())?;
    // Other schedulers' values mean the default here, as in diffusers.
    if !["midpoint", "logrho", "bh1", "bh2"].contains(&solver.as_str()) {
        return Err(s.wrong("solver_type", format!("is {solver}; midpoint is supported")));
    }
    s.only("thresholding", false)?;
    s.only("lambda_min_clipped", Value::Null)?;
    s.only_false(&[
        "use_exponential_sigmas",
        "use_beta_sigmas",
        "use_lu_lambdas",
        "use_flow_sigmas",
        "use_dynamic_shifting",
    ])?;
    let order: usize = s.take("solver_order", 2)?;
    if !(1..=2).contains(&order) {
        return Err(s.wrong("solver_order", format!("is {order}; 1 and 2 are supported")));
    }
    let at_end: bool = s.take("euler_at_final", false)?;
    let few: bool = s.take::<bool>("lower_order_final", true)? && steps < 15;
    let levels = spaced(&mut s, steps, karras)?;
    let to_nothing = levels.sigmas.last() == Some(&0.0);
    Ok(Box::new(DpmSolver {
        low_end: at_end || few || to_nothing,
        levels,
        prediction: s.prediction()?,
        order,
        previous: None,
    }))
}

/// The levels of DPM-Solver++ and UniPC. Karras' run between the ends of training.
pub(super) fn spaced(s: &mut Settings, steps: usize, karras: bool) -> Result<Levels, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let times = s.times_without_last(steps, spacing)?;
    let noise = s.finite_noise()?;
    let karras = karras || s.take("use_karras_sigmas", false)?;
    let levels = match karras {
        false => Levels::at(&noise, times),
        true => {
            let table = noise.sigmas();
            let ends = [table[table.len() - 1], table[0]].map(f64::from);
            let mut levels = Levels::karras(&noise, ends, steps);
            levels.times.iter_mut().for_each(|time| *time = time.round_ties_even());
            levels
        }
    };
    Ok(levels.ending(final_sigma(s, &noise)?))
}

impl Scheduler for DpmSolver {
    fn times(&self) -> &[f64] {
        &self.levels.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        _noise: NoiseSource,
    ) -> Tensor<4> {
        let level = |step: usize| Level::from(self.levels.sigmas[step]);
        let (here, next) = (level(step), level(step + 1));
        let image = self.prediction.image([here.a, here.b], &sample, &output);
        let h = next.lambda - here.lambda;
        let last = step + 1 == self.levels.times.len();
        let direction = match self.previous.take() {
            Some(previous) if self.order > 1 && !(last && self.low_end) => {
                let half = 0.5 * h / (here.lambda - level(step - 1).lambda);
                combine([(1.0 + half, image.clone()), (-half, previous)])
            }
            _ => image.clone(),
        };
        self.previous = Some(image);
        combine([(next.b / here.b, sample), (-next.a * (-h).exp_m1(), direction)])
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        let level = Level::from(self.levels.sigmas[step]);
        combine([(level.a, image), (level.b, noise)])
    }
}
