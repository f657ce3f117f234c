//! DPM-Solver++: a multistep method of order two, exact where the predicted image is linear in λ; of
//! the ordinary differential equation, and of the stochastic one.

use burn::tensor::Tensor;
use serde_json::Value;

use super::{
    NoiseSource, Prediction, Scheduler, Sigmas, combine,
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
/// last, take $D = x_0$. The stochastic one is
///
/// $$x' = \frac{b'}{b} e^{-h} x - a'(e^{-2h} - 1) D + b' \sqrt{1 - e^{-2h}} n.$$
#[derive(Debug)]
struct DpmSolver {
    levels: Levels,
    prediction: Prediction,
    order: usize,
    stochastic: bool,
    /// Whether the last step is of order one: always where it ends at no noise.
    low_end: bool,
    previous: Option<Tensor<4>>,
}

/// What a configuration calls the stochastic one.
const STOCHASTIC: &str = "sde-dpmsolver++";

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let algorithm: String = s.take("algorithm_type", "dpmsolver++".into())?;
    if !["dpmsolver++", "deis", STOCHASTIC].contains(&algorithm.as_str()) {
        let reason = format!("is {algorithm}; dpmsolver++ and {STOCHASTIC} are supported");
        return Err(s.wrong("algorithm_type", reason));
    }
    solver(s, steps, algorithm == STOCHASTIC)
}

pub(super) fn make_sde(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    s.take::<Value>("algorithm_type", Value::Null)?;
    solver(s, steps, true)
}

fn solver(
    mut s: Settings,
    steps: usize,
    stochastic: bool,
) -> Result<Box<dyn Scheduler>, ModelError> {
    let solver: String = s.take("solver_type", "midpoint".into())?;
    // Other schedulers' values mean the default here, as in diffusers.
    if !["midpoint", "logrho", "bh1", "bh2"].contains(&solver.as_str()) {
        return Err(s.wrong("solver_type", format!("is {solver}; midpoint is supported")));
    }
    s.only("thresholding", false)?;
    s.only("lambda_min_clipped", Value::Null)?;
    s.only_false(&["use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting"])?;
    let order: usize = s.take("solver_order", 2)?;
    if !(1..=2).contains(&order) {
        return Err(s.wrong("solver_order", format!("is {order}; 1 and 2 are supported")));
    }
    let at_end: bool = s.take("euler_at_final", false)?;
    let few: bool = s.take::<bool>("lower_order_final", true)? && steps < 15;
    let levels = spaced(&mut s, steps)?;
    let to_nothing = levels.sigmas.last() == Some(&0.0);
    Ok(Box::new(DpmSolver {
        low_end: at_end || few || to_nothing,
        levels,
        prediction: s.prediction()?,
        order,
        stochastic,
        previous: None,
    }))
}

/// The levels of DPM-Solver++ and UniPC. Spread ones run between the ends of training, at whole times.
pub(super) fn spaced(s: &mut Settings, steps: usize) -> Result<Levels, ModelError> {
    let spacing = s.spacing(Spacing::Linspace)?;
    let times = s.times_without_last(steps, spacing)?;
    let noise = s.finite_noise()?;
    let levels = match Sigmas::of(s)? {
        None => Levels::at(&noise, times),
        Some(sigmas) => {
            let table = noise.sigmas();
            let ends = [table[table.len() - 1], table[0]].map(f64::from);
            let mut levels = Levels::spread(&noise, sigmas, ends, steps);
            // The reference rounds Karras' and cuts the others.
            let whole = if sigmas == Sigmas::Karras { f64::round_ties_even } else { f64::floor };
            levels.times.iter_mut().for_each(|time| *time = whole(*time));
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
        noise: NoiseSource,
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
        if !self.stochastic {
            return combine([(next.b / here.b, sample), (-next.a * (-h).exp_m1(), direction)]);
        }
        let (kept, taken) = ((-h).exp() * next.b / here.b, -(-2.0 * h).exp_m1());
        let mean = combine([(kept, sample), (next.a * taken, direction)]);
        stirred(mean, next.b * taken.sqrt(), &output, noise)
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        let level = Level::from(self.levels.sigmas[step]);
        combine([(level.a, image), (level.b, noise)])
    }
}

/// A sample with noise of a deviation, which is drawn unless it is 0.
pub(super) fn stirred(
    mean: Tensor<4>,
    deviation: f64,
    like: &Tensor<4>,
    noise: NoiseSource,
) -> Tensor<4> {
    match deviation {
        0.0 => mean,
        deviation => combine([(1.0, mean), (deviation, noise(like))]),
    }
}
