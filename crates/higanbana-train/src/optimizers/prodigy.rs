//! Prodigy: Adam whose learning rate is an estimate $d$ of the distance to the solution.
//!
//! $$U = d_t \frac{m_t}{\sqrt{v_t} + d_t \epsilon}, \qquad
//! m_t = \beta_1 m_{t-1} + (1-\beta_1) d_t g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) d_t^2 g_t^2$$
//! $$d_{t+1} = \max\left(d_t, \frac{r_{t+1}}{\lVert s_{t+1} \rVert_1}\right), \qquad
//! r_{t+1} = \sqrt{\beta_2} r_t + (1 - \sqrt{\beta_2}) \eta d_t^2 \langle g_t, \theta_0 - \theta_t\rangle,
//! \qquad s_{t+1} = \sqrt{\beta_2} s_t + (1 - \sqrt{\beta_2}) \eta d_t^2 g_t$$
//!
//! $r$ and $\lVert s \rVert_1$ are over all tensors of a [group](crate::Group): each tensor adds to them
//! as it is stepped, and $d$ follows when all have been. Algorithm 4 of the paper.

use std::sync::{Arc, Mutex};

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};

use super::{
    Engine, Hyperparameter, Role, Rule, Settings, Shared, State, adam::ADAM, rule::Common,
};

/// Prodigy.
pub(super) const PRODIGY: Rule = Rule {
    name: "prodigy",
    title: "Prodigy",
    reference: "arXiv:2306.06101",
    formula: r"d_t\,m_t / (\sqrt{v_t} + d_t \epsilon)",
    parameter_degree: 1,
    why: "Adam's update, of degree 0 in the gradients, at an estimated distance of parameters",
    rate: 1.0,
    hyperparameters: &[
        Hyperparameter {
            name: "weight_decay",
            role: Role::Decay,
            value: 0.0,
            power: -1,
            why: "rate · d · decay is a pure number, and d scales with a",
        },
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-8),
        Hyperparameter {
            name: "d0",
            role: Role::Estimate,
            value: 1e-6,
            power: 1,
            why: "it is a distance of parameters",
        },
    ],
    state: &[
        State::new("moment_1", 0),
        State::new("moment_2", 0),
        State::new("s", 1),
        State::new("start", 1),
        State::new("d", 1),
        State::new("r", 2),
    ],
    single_precision: false,
    shared: Some(Shared::Estimate),
    build: |settings| {
        let shared = Estimated { d: settings.get("d0"), r: 0.0, numerator: 0.0, denominator: 0.0 };
        let shared = Arc::new(Mutex::new(shared));
        let prodigy = Prodigy { settings: settings.clone(), shared: shared.clone() };
        let common = Arc::new(Distance { shared, decay: settings.get("beta_2").sqrt() });
        Engine { common: Some(common), ..prodigy.into() }
    },
    ..ADAM
};

#[derive(Debug, Clone)]
struct Prodigy {
    settings: Settings,
    shared: Arc<Mutex<Estimated>>,
}

/// What the tensors of a group share.
#[derive(Debug)]
struct Estimated {
    d: f64,
    r: f64,
    /// $(1-\sqrt{\beta_2}) \eta d^2 \langle g, \theta_0 - \theta \rangle$ of the tensors so far.
    numerator: f64,
    /// $\lVert s \rVert_1$ of the tensors so far.
    denominator: f64,
}

impl Estimated {
    fn estimate(&mut self, decay: f64) {
        self.r = decay * self.r + std::mem::take(&mut self.numerator);
        let denominator = std::mem::take(&mut self.denominator);
        if denominator > 0.0 {
            self.d = self.d.max(self.r / denominator);
        }
    }
}

/// The estimate, with the decay of what it is made of.
struct Distance {
    shared: Arc<Mutex<Estimated>>,
    decay: f64,
}

impl Common for Distance {
    fn after(&self) {
        lock(&self.shared).estimate(self.decay);
    }

    fn numbers(&self) -> Vec<f64> {
        let shared = lock(&self.shared);
        vec![shared.d, shared.r]
    }

    fn restore(&self, numbers: &[f64]) {
        if let [d, r] = *numbers {
            let mut shared = lock(&self.shared);
            (shared.d, shared.r) = (d, r);
        }
    }
}

fn lock(shared: &Mutex<Estimated>) -> std::sync::MutexGuard<'_, Estimated> {
    shared.lock().expect("nothing panics while it holds the estimate")
}

#[derive(RecordState, Clone)]
struct ProdigyState<const D: usize> {
    moment_1: Tensor<D>,
    moment_2: Tensor<D>,
    s: Tensor<D>,
    start: Tensor<D>,
}

impl Optimizer for Prodigy {
    type State<const D: usize> = ProdigyState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let names = ["beta_1", "beta_2", "eps", "weight_decay"];
        let [beta_1, beta_2, eps, weight_decay] = names.map(|name| self.settings.get(name));
        let zeros = || gradient.zeros_like();
        let state = state.unwrap_or_else(|| ProdigyState {
            moment_1: zeros(),
            moment_2: zeros(),
            s: zeros(),
            start: tensor.clone(),
        });
        let mut shared = lock(&self.shared);
        let d = shared.d;
        let (decay, weight) = (beta_2.sqrt(), (1.0 - beta_2.sqrt()) * rate * d * d);
        let s = state.s.mul_scalar(decay) + gradient.clone().mul_scalar(weight);
        shared.numerator += weight * sum(gradient.clone() * (state.start.clone() - tensor.clone()));
        shared.denominator += sum(s.clone().abs());
        drop(shared);

        let scaled = gradient.mul_scalar(d);
        let moment_1 = state.moment_1.mul_scalar(beta_1) + scaled.clone().mul_scalar(1.0 - beta_1);
        let moment_2 = state.moment_2.mul_scalar(beta_2) + scaled.square().mul_scalar(1.0 - beta_2);
        let magnitude = moment_2.clone().sqrt().add_scalar(d * eps);
        let update = moment_1.clone() / magnitude;
        let decayed = tensor.mul_scalar(1.0 - rate * d * weight_decay);
        let state = ProdigyState { moment_1, moment_2, s, ..state };
        (decayed - update.mul_scalar(rate * d), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let ProdigyState { moment_1, moment_2, s, start } = state;
        let [moment_1, moment_2, s, start] =
            [moment_1, moment_2, s, start].map(|tensor| tensor.to_device(device));
        ProdigyState { moment_1, moment_2, s, start }
    }
}

fn sum<const D: usize>(tensor: Tensor<D>) -> f64 {
    tensor.sum().into_data().iter::<f64>().next().unwrap_or_default()
}
