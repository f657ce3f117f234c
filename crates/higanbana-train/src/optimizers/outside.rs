//! Optimizers from outside: what they scale with is found.
//!
//! The theorem asks of a step $D = \theta_t - \theta_{t+1}$ that, with every gradient multiplied by $p$ and every
//! parameter by $q$, a learning rate $p^x q^y \eta$ and hyperparameters $p^{u_h} q^{v_h} h$ make it $q D$, over any
//! history of gradients and parameters. Then $k = -x$, $j = 1 - y$, and $h$ scales with $a^{v_h - u_h}$. At
//! $p = q = 1$ the derivatives say
//! $$\frac{\partial D}{\partial \ln p} + x \frac{\partial D}{\partial \ln \eta}
//!     + \sum_h u_h \frac{\partial D}{\partial \ln h} = 0, \qquad
//! \frac{\partial D}{\partial \ln q} + y \frac{\partial D}{\partial \ln \eta}
//!     + \sum_h v_h \frac{\partial D}{\partial \ln h} = D,$$
//! which is linear in the powers. They are taken as differences, on random gradients and parameters of several
//! magnitudes, so that floors bind here and there; the nearest whole powers are then held to what is asked at
//! factors that are far from 1. This is evidence and no proof: it is found at random histories.

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor, TensorData},
};
use higanbana_core::{Init, Site, SiteKind, device::cpu};

use super::{Engine, Hyperparameter, Role, Rule, Settings, adam::ADAM};
use crate::{Group, ModelOptimizer, euler::least_squares};

/// Steps of a history, by what its gradients and parameters are multiplied.
const MAGNITUDES: [[f64; 2]; 6] =
    [[0.03, 1.0], [1.0, 0.06], [4.0, 1.0], [0.25, 0.06], [1.0, 2.0], [0.1, 0.5]];
/// Logarithm of the factors of the differences: rounding to `f32` and curvature weigh alike there.
const DIFFERENCE: f64 = 0.01;
/// Powers that are further from whole ones are not whole.
const WHOLE: f64 = 0.05;
/// Factors $p$ and $q$ at which whole powers are tried.
const TRIED: [[f64; 2]; 4] = [[4.0, 1.0], [1.0, 0.125], [0.25, 8.0], [3.0, 0.7]];
/// What steps may be apart then: hyperparameters are held in `f32` by Burn's optimizers.
const TOLERANCE: f64 = 1e-5;

/// An optimizer of your own: what it does.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    /// Name on the command line.
    pub name: &'static str,
    /// Name in prose.
    pub title: &'static str,
    /// Where it was published.
    pub reference: &'static str,
    /// The update $U$, as a formula in LaTeX.
    pub formula: &'static str,
    /// A learning rate at which small networks train.
    pub rate: f64,
    /// The hyperparameters besides the learning rate: name, what it is there for, default.
    pub hyperparameters: &'static [(&'static str, Role, f64)],
    /// Builds it.
    pub build: fn(&Settings) -> Engine,
}

/// An optimizer has no degrees.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "no rule exists: with the best powers, k = {k:.2} and j = {j:.2}, its steps are {apart:.0e} off when \
     gradients and parameters are scaled, so that no learning rate and hyperparameters replace gamma"
)]
pub struct NoRule {
    /// $k$ of the best powers.
    pub k: f64,
    /// $j$ of the best powers.
    pub j: f64,
    /// How far the steps are from scaling so.
    pub apart: f64,
}

/// Powers of $p$, or of $q$: of the learning rate, and of each hyperparameter.
type Powers = Vec<f64>;

impl Outside {
    /// The rule that is found, for as long as the process lives.
    ///
    /// # Errors
    /// When its steps scale in no way.
    pub fn rule(&self) -> Result<&'static Rule, NoRule> {
        let history = History::random();
        let [p, q] = self.powers(&history);
        let [wp, wq] = [&p, &q].map(|powers| powers.iter().map(|x| x.round()).collect::<Powers>());
        let pairs = || p.iter().zip(&wp).chain(q.iter().zip(&wq));
        let apart = self.apart(&history, &wp, &wq);
        // Not a number is no agreement.
        if !(pairs().all(|(found, whole)| (found - whole).abs() < WHOLE) && apart < TOLERANCE) {
            return Err(NoRule { k: -p[0], j: 1.0 - q[0], apart });
        }
        let hyperparameters = self.hyperparameters.iter().enumerate().map(|(index, h)| {
            let &(name, role, value) = h;
            let power = (wq[index + 1] - wp[index + 1]) as i32;
            Hyperparameter { name, role, value, power, why: "found numerically" }
        });
        let from_zero = self.apart(&history.from_zero(), &wp, &wq);
        let [plain, clipped] =
            [&history, &history.clipped()].map(|history| self.steps(history, &Scale::one(self)));
        Ok(Box::leak(Box::new(Rule {
            name: self.name,
            title: self.title,
            reference: self.reference,
            formula: self.formula,
            gradient_degree: -wp[0] as i32,
            parameter_degree: 1 - wq[0] as i32,
            why: "found numerically, at random gradients and parameters",
            rate: self.rate,
            hyperparameters: Box::leak(hyperparameters.collect()),
            state: &[],
            // As some of Burn's do.
            single_precision: true,
            ignores_clipping: (difference(&plain, &clipped) == 0.0)
                .then_some("found numerically: a factor of the gradients changes nothing"),
            needs_nonzero: (!(from_zero < TOLERANCE))
                .then_some("a tensor of zeros was found to scale otherwise"),
            found: true,
            build: self.build,
        })))
    }

    /// The powers of $p$ and of $q$ that fit best.
    fn powers(&self, history: &History) -> [Powers; 2] {
        let one = Scale::one(self);
        // What is said to be a pure number has to do without a power.
        let scaling = |h: &usize| *h == 0 || self.hyperparameters[h - 1].1 != Role::Number;
        let scaling: Vec<usize> = (0..one.numbers.len()).filter(scaling).collect();
        let n = scaling.len();
        let step = self.steps(history, &one);
        // Every tensor of every step has a say, however short its step is.
        let lengths: Vec<f64> = step.iter().map(|part| norm(part)).collect();
        let flat = |parts: &[Vec<f64>]| -> Vec<f64> {
            let pairs = parts.iter().zip(&lengths).filter(|(_, length)| **length > 0.0);
            pairs.flat_map(|(part, length)| part.iter().map(move |x| x / length)).collect()
        };
        let derivative = |change: &dyn Fn(&mut Scale, f64)| -> Vec<f64> {
            let at = |sign: f64| {
                let mut scale = one.clone();
                change(&mut scale, (sign * DIFFERENCE).exp());
                flat(&self.steps(history, &scale))
            };
            let (up, down) = (at(1.0), at(-1.0));
            up.iter().zip(down).map(|(up, down)| (up - down) / (2.0 * DIFFERENCE)).collect()
        };
        let by_number = |h: &usize| derivative(&|scale, factor| scale.numbers[*h] *= factor);
        let columns: Vec<Vec<f64>> = scaling.iter().map(by_number).collect();
        let rows: Vec<f64> =
            (0..columns[0].len()).flat_map(|row| columns.iter().map(move |c| c[row])).collect();
        let solve = |right: Vec<f64>| {
            let found = least_squares(&rows, &right, n, &cpu());
            let mut powers = vec![0.0; one.numbers.len()];
            for (h, power) in scaling.iter().zip(found.unwrap_or_else(|_| vec![f64::NAN; n])) {
                powers[*h] = power;
            }
            powers
        };
        let by_p = derivative(&|scale, factor| scale.p *= factor);
        let by_q = derivative(&|scale, factor| scale.q *= factor);
        let p = solve(by_p.iter().map(|d| -d).collect());
        let q = solve(flat(&step).iter().zip(&by_q).map(|(d, by_q)| d - by_q).collect());
        [p, q]
    }

    /// How far steps are from scaling with these powers.
    fn apart(&self, history: &History, by_p: &Powers, by_q: &Powers) -> f64 {
        let plain = self.steps(history, &Scale::one(self));
        let apart = TRIED.map(|[p, q]| {
            let factor = |(x, y): (&f64, &f64)| p.powf(*x) * q.powf(*y);
            let numbers = by_p.iter().zip(by_q).map(factor).collect();
            let mut steps = self.steps(history, &Scale { p, q, numbers });
            steps.iter_mut().flatten().for_each(|x| *x /= q);
            difference(&plain, &steps)
        });
        apart.into_iter().fold(0.0, larger)
    }

    /// $D$ of each tensor at each step.
    fn steps(&self, history: &History, scale: &Scale) -> Vec<Vec<f64>> {
        let felt = |(&(name, role, value), factor): (&(&'static str, Role, f64), &f64)| {
            let felt = match role {
                Role::Number => value,
                Role::Epsilon | Role::Ridge | Role::Norm => 0.3,
                Role::Decay | Role::Estimate => 0.1,
            };
            (name, felt * factor)
        };
        let numbers = self.hyperparameters.iter().zip(&scale.numbers[1..]);
        let settings = Settings(numbers.map(felt).collect());
        let group = Group { rate: self.rate * scale.numbers[0], settings };
        let rule = Rule { build: self.build, hyperparameters: &[], ..ADAM };
        let mut model = Probe::new();
        let mut optimizer = ModelOptimizer::new(&model, &rule, &[group], |_| 0);
        let mut steps = Vec::new();
        for (gradient, parameters) in &history.0 {
            let [g, x] = [(gradient, scale.p), (parameters, scale.q)]
                .map(|(values, by)| values.each_ref().map(|v| scaled(v, by)));
            model = model.map(&mut Put(x.iter()));
            let gradients = model.gradients(&g);
            model = optimizer.step(1.0, model, gradients);
            let after = model.values();
            let step =
                |(x, y): (&Vec<f64>, &Vec<f64>)| x.iter().zip(y).map(|(x, y)| x - y).collect();
            steps.extend(x.iter().zip(&after).map(step));
        }
        steps
    }
}

/// By what gradients, parameters, the learning rate and the hyperparameters are multiplied.
#[derive(Clone)]
struct Scale {
    p: f64,
    q: f64,
    numbers: Vec<f64>,
}

impl Scale {
    fn one(outside: &Outside) -> Self {
        Self { p: 1.0, q: 1.0, numbers: vec![1.0; outside.hyperparameters.len() + 1] }
    }
}

/// Gradients and parameters of a vector and a matrix, step by step.
struct History(Vec<([Vec<f64>; 2], [Vec<f64>; 2])>);

impl History {
    fn random() -> Self {
        let like = Tensor::zeros([1, 1], (&cpu(), DType::F64));
        let mut init = Init::new(&Site::new("outside", SiteKind::Linear, [1, 1]), like, 0);
        let mut numbers = |by: f64| {
            let (vector, matrix) = (init.normal::<1>([3], by), init.normal::<2>([2, 3], by));
            [values(&vector), values(&matrix)]
        };
        Self(MAGNITUDES.map(|[gradient, size]| (numbers(gradient), numbers(size))).into())
    }

    /// The same from zeros.
    fn from_zero(&self) -> Self {
        let mut steps = self.0.clone();
        steps[0].1.iter_mut().flatten().for_each(|x| *x = 0.0);
        Self(steps)
    }

    /// The same with the gradients of every other step halved.
    fn clipped(&self) -> Self {
        let mut steps = self.0.clone();
        let halved = steps.iter_mut().step_by(2).flat_map(|(gradient, _)| gradient.iter_mut());
        halved.flatten().for_each(|g| *g *= 0.5);
        Self(steps)
    }
}

/// A vector and a matrix.
#[derive(Module, Debug)]
struct Probe {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
}

impl Probe {
    fn new() -> Self {
        let options = (&cpu().autodiff(), DType::F64);
        Self {
            vector: Param::from_tensor(Tensor::zeros([3], options)),
            matrix: Param::from_tensor(Tensor::zeros([2, 3], options)),
        }
    }

    fn gradients(&self, [vector, matrix]: &[Vec<f64>; 2]) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        gradients.register(self.vector.id, tensor::<1>(vector, [3], &cpu()));
        gradients.register(self.matrix.id, tensor::<2>(matrix, [2, 3], &cpu()));
        gradients
    }

    fn values(&self) -> [Vec<f64>; 2] {
        [values(&self.vector.val()), values(&self.matrix.val())]
    }
}

/// Puts numbers into the parameters.
struct Put<'a>(std::slice::Iter<'a, Vec<f64>>);

impl ModuleMapper for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.next() else { return param };
        param.map(|old| {
            tensor::<D>(values, old.shape().dims::<D>(), &cpu()).autodiff().require_grad()
        })
    }
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn scaled(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().map(|x| x * by).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest relative difference of a tensor's step.
fn difference(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    let apart = |(x, y): (&Vec<f64>, &Vec<f64>)| {
        let apart = norm(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<_>>());
        if apart == 0.0 { 0.0 } else { apart / norm(x) }
    };
    x.iter().zip(y).map(apart).fold(0.0, larger)
}

/// The larger number, and what is none before all.
fn larger(x: f64, y: f64) -> f64 {
    if y > x || y.is_nan() { y } else { x }
}

#[cfg(test)]
mod tests {
    use burn::optim::{LearningRate, Optimizer};

    use super::*;
    use crate::optimizers;

    #[test]
    fn the_degrees_that_rules_state_are_found() {
        for rule in optimizers() {
            let hyperparameters: Vec<_> =
                rule.hyperparameters.iter().map(|h| (h.name, h.role, h.value)).collect();
            let outside = Outside {
                name: rule.name,
                title: rule.title,
                reference: rule.reference,
                formula: rule.formula,
                rate: rule.rate,
                hyperparameters: Box::leak(hyperparameters.into()),
                build: rule.build,
            };
            let found = outside.rule().unwrap_or_else(|error| panic!("{}: {error}", rule.name));
            assert_eq!(found.gradient_degree, rule.gradient_degree, "{}", rule.name);
            assert_eq!(found.parameter_degree, rule.parameter_degree, "{}", rule.name);
            for (found, stated) in found.hyperparameters.iter().zip(rule.hyperparameters) {
                assert_eq!(found.power, stated.power, "{} {}", rule.name, stated.name);
            }
            assert_eq!(
                found.needs_nonzero.is_some(),
                rule.needs_nonzero.is_some(),
                "{}",
                rule.name
            );
            assert!(
                found.ignores_clipping.is_none() || rule.ignores_clipping.is_some(),
                "{}",
                rule.name
            );
        }
    }

    /// $U = f(g)$, number by number.
    #[derive(Clone)]
    struct Plain(fn(f64) -> f64);

    impl Optimizer for Plain {
        type State<const D: usize> = ();

        fn step<const D: usize>(
            &self,
            rate: LearningRate,
            x: Tensor<D>,
            g: Tensor<D>,
            _: Option<()>,
        ) -> (Tensor<D>, Option<()>) {
            let update: Vec<f64> = g.to_data().iter::<f64>().map(self.0).collect();
            let update = tensor::<D>(&update, g.dims(), &g.device());
            (x - update.mul_scalar(rate), Some(()))
        }

        fn to_device<const D: usize>(state: (), _: &Device) {
            state
        }
    }

    #[test]
    fn what_does_not_scale_has_no_rule() {
        let plain = Outside {
            name: "plain",
            title: "plain",
            reference: "none",
            formula: "f(g)",
            rate: 0.1,
            hyperparameters: &[],
            build: |_| Plain(|g| g * g * g).into(),
        };
        let cubes = plain.rule().unwrap();
        assert_eq!((cubes.gradient_degree, cubes.parameter_degree, cubes.c()), (3, 0, 4));
        let tanh = Outside { build: |_| Plain(f64::tanh).into(), ..plain };
        assert!(tanh.rule().unwrap_err().to_string().starts_with("no rule exists"));
        // A degree, but not a whole one.
        let root = Outside { build: |_| Plain(|g| g.signum() * g.abs().sqrt()).into(), ..plain };
        let error = root.rule().unwrap_err();
        assert!((error.k - 0.5).abs() < 1e-3 && error.j.abs() < 1e-3, "{error:?}");
        let broken = Outside { build: |_| Plain(|_| f64::NAN).into(), ..plain };
        assert!(broken.rule().is_err());
    }
}
