//! Stochastic gradient descent: plain, with momentum, with Nesterov's.
//!
//! $$v_t = \mu v_{t-1} + g_t, \qquad U = v_t \quad\text{or (Nesterov)}\quad \mu v_t + g_t$$

use burn::optim::{SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig};

use super::{Engine, Hyperparameter, Rule, Settings, State};

const WHY: &str = "the update is linear in the gradients";

/// Without momentum.
pub(super) const SGD: Rule = Rule {
    name: "sgd",
    title: "SGD",
    reference: "Robbins and Monro 1951",
    formula: r"g_t",
    gradient_degree: 1,
    parameter_degree: 0,
    why: WHY,
    rate: 0.05,
    hyperparameters: &[Hyperparameter::coupled_decay()],
    state: &[],
    single_precision: true,
    ignores_clipping: None,
    needs_nonzero: None,
    shared: None,
    found: false,
    build: |settings| build(settings, None),
};

/// With heavy-ball momentum.
pub(super) const MOMENTUM: Rule = Rule {
    name: "momentum",
    title: "SGD with momentum",
    reference: "Polyak 1964",
    formula: r"v_t,\; v_t = \mu v_{t-1} + g_t",
    rate: 0.005,
    hyperparameters: &[Hyperparameter::coupled_decay(), Hyperparameter::number("momentum", 0.9)],
    state: &[State::new("velocity", -1)],
    build: |settings| build(settings, Some(false)),
    ..SGD
};

/// With Nesterov's momentum.
pub(super) const NESTEROV: Rule = Rule {
    name: "nesterov",
    title: "SGD with Nesterov's momentum",
    reference: "Nesterov 1983",
    formula: r"\mu v_t + g_t,\; v_t = \mu v_{t-1} + g_t",
    build: |settings| build(settings, Some(true)),
    ..MOMENTUM
};

fn build(settings: &Settings, nesterov: Option<bool>) -> Engine {
    let momentum = nesterov.map(|nesterov| MomentumConfig {
        momentum: settings.get("momentum"),
        // Burn's default of 0.1 would only change the learning rate.
        dampening: 0.0,
        nesterov,
    });
    let config = SgdConfig::new().with_momentum(momentum).with_weight_decay(decay(settings));
    config.build().into()
}

/// L2 decay for Burn, if there is any.
pub(super) fn decay(settings: &Settings) -> Option<WeightDecayConfig> {
    let penalty = settings.single("weight_decay");
    (penalty != 0.0).then(|| WeightDecayConfig::new(penalty))
}
