//! Normalised SGD: all gradients together, divided by their norm.
//!
//! $$\theta_{t+1} = (1 - \eta\lambda) \theta_t - \eta \frac{g_t}{\lVert g_t \rVert + \epsilon}$$
//!
//! The norm is over all tensors of a [group](crate::Group), which Burn's `Optimizer` cannot see:
//! [`crate::ModelOptimizer`] divides before it steps.

use burn::{
    optim::{LearningRate, Optimizer},
    tensor::{Device, Tensor},
};

use super::{Engine, Hyperparameter, Role, Rule, Shared, adam::ADAM};

/// Normalised SGD.
pub(super) const NORMALIZED_SGD: Rule = Rule {
    name: "normalized_sgd",
    title: "normalised SGD",
    reference: "arXiv:1507.02030",
    formula: r"g_t / (\lVert g_t \rVert + \epsilon)",
    why: "a gradient over its norm",
    rate: 0.05,
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter { role: Role::Norm, ..Hyperparameter::epsilon(1e-8) },
    ],
    state: &[],
    single_precision: false,
    ignores_clipping: Some("the norm that clipping changes is divided out"),
    shared: Some(Shared::Norm),
    build: |settings| Engine {
        normalise: Some(settings.get("eps")),
        ..Descent { weight_decay: settings.get("weight_decay") }.into()
    },
    ..ADAM
};

#[derive(Debug, Clone)]
struct Descent {
    weight_decay: f64,
}

impl Optimizer for Descent {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        _state: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        let decayed = tensor.mul_scalar(1.0 - rate * self.weight_decay);
        (decayed - gradient.mul_scalar(rate), Some(()))
    }

    fn to_device<const D: usize>(state: (), _device: &Device) {
        state
    }
}
