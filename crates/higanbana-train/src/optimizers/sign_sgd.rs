//! signSGD.
//!
//! $$\theta_{t+1} = (1 - \eta\lambda) \theta_t - \eta \operatorname{sign}(g_t)$$

use burn::{
    optim::{LearningRate, Optimizer},
    tensor::{Device, Tensor},
};

use super::{Hyperparameter, Rule, adam::ADAM};

/// signSGD.
pub(super) const SIGN_SGD: Rule = Rule {
    name: "sign_sgd",
    title: "signSGD",
    reference: "arXiv:1802.04434",
    formula: r"\operatorname{sign}(g_t)",
    why: "a sign does not see a positive factor",
    rate: 0.003,
    hyperparameters: &[Hyperparameter::decoupled_decay(0.0, 1)],
    state: &[],
    single_precision: false,
    ignores_clipping: Some("clipping is a positive factor, which a sign does not see"),
    build: |settings| SignSgd { weight_decay: settings.get("weight_decay") }.into(),
    ..ADAM
};

#[derive(Debug, Clone)]
struct SignSgd {
    weight_decay: f64,
}

impl Optimizer for SignSgd {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        _state: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        let decayed = tensor.mul_scalar(1.0 - rate * self.weight_decay);
        (decayed - gradient.sign().mul_scalar(rate), Some(()))
    }

    fn to_device<const D: usize>(state: (), _device: &Device) {
        state
    }
}
