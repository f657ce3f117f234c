//! NAdam: Adam with Nesterov's momentum, and decoupled decay.
//!
//! $$U = \frac{\mu_{t+1} m_t / (1 - \prod_{i \le t+1} \mu_i) + (1 - \mu_t) g_t / (1 - \prod_{i \le t} \mu_i)}
//! {\sqrt{\hat v_t} + \epsilon}, \qquad \mu_t = \beta_1\left(1 - \tfrac12 \cdot 0.96^{t \psi}\right)$$
//!
//! $\psi$ is the momentum decay; as in PyTorch, whose `decoupled_weight_decay` this has.

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};

use super::{Hyperparameter, Rule, Settings, adam::ADAM};

/// NAdam.
pub(super) const NADAM: Rule = Rule {
    name: "nadam",
    title: "NAdam",
    reference: "Dozat 2016",
    formula: r"(\tilde\mu\,m_t + \tilde\nu\,g_t) / (\sqrt{\hat v_t} + \epsilon)",
    why: "a weighted gradient and a mean of them over the root of a mean of their squares",
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::number("momentum_decay", 0.004),
        Hyperparameter::epsilon(1e-8),
    ],
    single_precision: false,
    build: |settings| Nadam(settings.clone()).into(),
    ..ADAM
};

#[derive(Debug, Clone)]
struct Nadam(Settings);

#[derive(RecordState, Clone)]
struct NadamState<const D: usize> {
    time: usize,
    /// $\prod_{i \le t} \mu_i$.
    product: f64,
    moment_1: Tensor<D>,
    moment_2: Tensor<D>,
}

impl Nadam {
    fn momentum(&self, time: usize) -> f64 {
        let decay = 0.96f64.powf(time as f64 * self.0.get("momentum_decay"));
        self.0.get("beta_1") * (1.0 - 0.5 * decay)
    }
}

impl Optimizer for Nadam {
    type State<const D: usize> = NadamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let [beta_1, beta_2, eps] = ["beta_1", "beta_2", "eps"].map(|name| self.0.get(name));
        let NadamState { time, product, moment_1, moment_2 } =
            state.unwrap_or_else(|| NadamState {
                time: 0,
                product: 1.0,
                moment_1: gradient.zeros_like(),
                moment_2: gradient.zeros_like(),
            });
        let time = time + 1;
        let (now, next) = (self.momentum(time), self.momentum(time + 1));
        let product = product * now;
        let moment_1 = moment_1.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
        let square = gradient.clone().square();
        let moment_2 = moment_2.mul_scalar(beta_2) + square.mul_scalar(1.0 - beta_2);

        let corrected = moment_2.clone().div_scalar(1.0 - beta_2.powi(time as i32));
        let ahead = moment_1.clone().mul_scalar(next / (1.0 - product * next));
        let here = gradient.mul_scalar((1.0 - now) / (1.0 - product));
        let update = (ahead + here) / corrected.sqrt().add_scalar(eps);

        let decayed = tensor.mul_scalar(1.0 - rate * self.0.get("weight_decay"));
        let state = NadamState { time, product, moment_1, moment_2 };
        (decayed - update.mul_scalar(rate), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        NadamState {
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            ..state
        }
    }
}
