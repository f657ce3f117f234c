//! Adadelta: steps measured by the steps before.
//!
//! $$\delta_t = \frac{\sqrt{u_{t-1} + \epsilon_\delta}}{\sqrt{v_t + \epsilon_g}} g_t, \qquad
//! v_t = \rho v_{t-1} + (1-\rho) g_t^2, \qquad u_t = \rho u_{t-1} + (1-\rho) \delta_t^2, \qquad U = \delta_t$$
//!
//! The usual single ε is added to squares of gradients and to squares of steps at once, which scale in
//! opposite ways: two numbers are needed.

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};

use super::{Hyperparameter, Role, Rule, Settings, State, adam::ADAM};

/// Adadelta.
pub(super) const ADADELTA: Rule = Rule {
    name: "adadelta",
    title: "Adadelta",
    reference: "arXiv:1212.5701",
    formula: r"\sqrt{u_{t-1} + \epsilon_\delta}\;g_t / \sqrt{v_t + \epsilon_g}",
    parameter_degree: 1,
    why: "a gradient over a magnitude of gradients, at the magnitude of the steps so far",
    rate: 1.0,
    hyperparameters: &[
        Hyperparameter::coupled_decay(),
        Hyperparameter::number("rho", 0.9),
        Hyperparameter {
            name: "eps_gradient",
            role: Role::Epsilon,
            value: 1e-6,
            power: -2,
            why: "it is added to squares of gradients",
        },
        Hyperparameter {
            name: "eps_step",
            role: Role::Epsilon,
            value: 1e-6,
            power: 2,
            why: "it is added to squares of steps, which scale as the parameters do",
        },
    ],
    state: &[State::new("square_gradient", -2), State::new("square_step", 2)],
    single_precision: false,
    build: |settings| Adadelta(settings.clone()).into(),
    ..ADAM
};

#[derive(Debug, Clone)]
struct Adadelta(Settings);

#[derive(RecordState, Clone)]
struct AdadeltaState<const D: usize> {
    square_gradient: Tensor<D>,
    square_step: Tensor<D>,
}

impl Optimizer for Adadelta {
    type State<const D: usize> = AdadeltaState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let rho = self.0.get("rho");
        let gradient = gradient + tensor.clone().mul_scalar(self.0.get("weight_decay"));
        let state = state.unwrap_or_else(|| AdadeltaState {
            square_gradient: gradient.zeros_like(),
            square_step: gradient.zeros_like(),
        });
        let mean =
            |mean: Tensor<D>, x: Tensor<D>| mean.mul_scalar(rho) + x.square().mul_scalar(1.0 - rho);
        let square_gradient = mean(state.square_gradient, gradient.clone());
        let root = |x: Tensor<D>, eps| x.add_scalar(self.0.get(eps)).sqrt();
        let step = gradient * root(state.square_step.clone(), "eps_step")
            / root(square_gradient.clone(), "eps_gradient");
        let square_step = mean(state.square_step, step.clone());
        (tensor - step.mul_scalar(rate), Some(AdadeltaState { square_gradient, square_step }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdadeltaState {
            square_gradient: state.square_gradient.to_device(device),
            square_step: state.square_step.to_device(device),
        }
    }
}
