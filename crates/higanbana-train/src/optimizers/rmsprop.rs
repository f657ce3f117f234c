//! RMSprop with momentum.
//!
//! $$v_t = \alpha v_{t-1} + (1-\alpha) g_t^2, \qquad
//! U = b_t = \mu b_{t-1} + \frac{g_t}{\sqrt{v_t} + \epsilon}$$

use burn::optim::RmsPropConfig;

use super::{Hyperparameter, Rule, State, adam::ADAM, sgd::decay};

/// RMSprop.
pub(super) const RMSPROP: Rule = Rule {
    name: "rmsprop",
    title: "RMSprop",
    reference: "Tieleman and Hinton 2012",
    formula: r"b_t,\; b_t = \mu b_{t-1} + g_t / (\sqrt{v_t} + \epsilon)",
    why: "gradients over the root of a mean of their squares",
    rate: 0.002,
    hyperparameters: &[
        Hyperparameter::coupled_decay(),
        Hyperparameter::number("alpha", 0.99),
        Hyperparameter::number("momentum", 0.9),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[State::new("square_avg", -2), State::new("avg", -2), State::new("buf", 0)],
    build: |settings| {
        let config = RmsPropConfig::new()
            .with_alpha(settings.single("alpha"))
            .with_momentum(settings.single("momentum"))
            .with_epsilon(settings.single("eps"))
            .with_weight_decay(decay(settings));
        config.build().into()
    },
    ..ADAM
};
