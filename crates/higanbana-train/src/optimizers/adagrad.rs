//! Adagrad.
//!
//! $$s_t = s_{t-1} + g_t^2, \qquad U = \frac{g_t}{\sqrt{s_t} + \epsilon}$$
//!
//! Burn's accumulator starts at 0; one that starts at $s_0$ would scale with $a^{-2}$.

use burn::optim::AdaGradConfig;

use super::{Hyperparameter, Rule, State, adam::ADAM, sgd::decay};

/// Adagrad.
pub(super) const ADAGRAD: Rule = Rule {
    name: "adagrad",
    title: "Adagrad",
    reference: "Duchi, Hazan and Singer 2011",
    formula: r"g_t / (\sqrt{s_t} + \epsilon),\; s_t = s_{t-1} + g_t^2",
    why: "a gradient over the root of the sum of their squares",
    rate: 0.05,
    hyperparameters: &[
        Hyperparameter::coupled_decay(),
        Hyperparameter::number("lr_decay", 0.0),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[State::new("sum", -2)],
    build: |settings| {
        let config = AdaGradConfig::new()
            .with_lr_decay(settings.get("lr_decay"))
            .with_epsilon(settings.single("eps"))
            .with_weight_decay(decay(settings));
        config.build().into()
    },
    ..ADAM
};
