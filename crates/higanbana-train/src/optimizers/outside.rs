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
//!
//! The powers may not be unique. Adadelta's $D$ is $\eta$ times a $\delta$ that scales with the root of its
//! $\epsilon_\delta$: $j = 0$ with $\epsilon_\delta$ as it is, and $j = 1$ with $a^2 \epsilon_\delta$, are both
//! right. Then the smaller $j$ is taken.

mod history;
#[cfg(test)]
mod tests;

use burn::module::Module;
use higanbana_core::device::cpu;

use self::history::{History, Probe, Put, difference, larger, norm, scaled};
use super::{Engine, Hyperparameter, Role, Rule, Settings, adam::ADAM};
use crate::{Group, ModelOptimizer, euler::least_squares};

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

/// An optimizer has no whole degrees.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "no rule exists: the degrees that fit best are k = {k:.2} and j = {j:.2}, and with the nearest whole ones \
     its steps are {apart:.0e} off when gradients and parameters are scaled"
)]
pub struct NoRule {
    /// $k$ of the best powers.
    pub k: f64,
    /// $j$ of the best powers.
    pub j: f64,
    /// How far the steps are from scaling with the nearest whole ones.
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
        let [by_p, by_q] = self.powers(&history);
        let mut pairs = by_p.iter().flat_map(|p| by_q.iter().map(move |q| (p, q)));
        let fits = |(p, q): &(&Powers, &Powers)| {
            let whole = p.iter().chain(*q).all(|power| (power - power.round()).abs() < WHOLE);
            // Not a number is no agreement.
            whole && self.apart(&history, p, q) < TOLERANCE
        };
        let Some((p, q)) = pairs.find(fits) else {
            let (k, j) = (-by_p[0][0], 1.0 - by_q[0][0]);
            return Err(NoRule { k, j, apart: self.apart(&history, &by_p[0], &by_q[0]) });
        };
        let [wp, wq] = [p, q].map(|powers| powers.iter().map(|x| x.round()).collect::<Powers>());
        let hyperparameters = self.hyperparameters.iter().enumerate().map(|(index, h)| {
            let &(name, role, value) = h;
            let power = (wq[index + 1] - wp[index + 1]) as i32;
            Hyperparameter { name, role, value, power, why: "found numerically" }
        });
        let from_zero = self.apart(&history.at_zero(), &wp, &wq);
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
            needs_nonzero: (from_zero.is_nan() || from_zero >= TOLERANCE)
                .then_some("a tensor of zeros was found to scale otherwise"),
            // As far as this sees: a tensor is stepped by itself.
            shared: None,
            found: true,
            build: self.build,
        })))
    }

    /// Powers of $p$ and of $q$ that fit: the smallest, and where there are others those with a whole power of
    /// the learning rate.
    fn powers(&self, history: &History) -> [Vec<Powers>; 2] {
        let one = Scale::one(self);
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
        let by_rate = derivative(&|scale, factor| scale.numbers[0] *= factor);
        // What is said to be a pure number has to do without a power.
        let scaling =
            (1..one.numbers.len()).filter(|h| self.hyperparameters[h - 1].1 != Role::Number);
        let scaling: Vec<(usize, Vec<f64>)> =
            scaling.map(|h| (h, derivative(&|scale, factor| scale.numbers[h] *= factor))).collect();
        let solve = |right: &[f64], rate: Option<f64>| {
            let fixed = rate.unwrap_or_default();
            let right: Vec<f64> = right.iter().zip(&by_rate).map(|(b, d)| b - fixed * d).collect();
            let free = rate.is_none().then_some((0, by_rate.clone()));
            let columns: Vec<_> = free.into_iter().chain(scaling.iter().cloned()).collect();
            let mut powers = vec![0.0; one.numbers.len()];
            powers[0] = fixed;
            if columns.is_empty() {
                return powers;
            }
            let row = |row: usize| columns.iter().map(move |(_, column)| column[row]);
            let rows: Vec<f64> = (0..right.len()).flat_map(row).collect();
            let found = least_squares(&rows, &right, columns.len(), &cpu());
            let found = found.unwrap_or_else(|_| vec![f64::NAN; columns.len()]);
            columns.iter().zip(found).for_each(|((h, _), power)| powers[*h] = power);
            powers
        };
        let all = |right: Vec<f64>, rates: [f64; 3]| {
            let free = std::iter::once(None);
            free.chain(rates.map(Some)).map(|rate| solve(&right, rate)).collect()
        };
        let by_p = derivative(&|scale, factor| scale.p *= factor).into_iter().map(|d| -d).collect();
        let by_q = derivative(&|scale, factor| scale.q *= factor);
        let by_q = flat(&step).iter().zip(by_q).map(|(d, by_q)| d - by_q).collect();
        [all(by_p, [0.0, -1.0, 1.0]), all(by_q, [1.0, 0.0, 2.0])]
    }

    /// How far steps are from scaling with the nearest whole powers.
    fn apart(&self, history: &History, by_p: &Powers, by_q: &Powers) -> f64 {
        let plain = self.steps(history, &Scale::one(self));
        let apart = TRIED.map(|[p, q]| {
            let factor = |(x, y): (&f64, &f64)| p.powf(x.round()) * q.powf(y.round());
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
        let new =
            |model: &Probe| ModelOptimizer::new(model, &rule, std::slice::from_ref(&group), |_| 0);
        let mut optimizer = new(&model);
        let mut steps = Vec::new();
        for (index, (gradient, parameters)) in history.0.iter().enumerate() {
            if index % History::LENGTH == 0 {
                optimizer = new(&model);
            }
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
