//! Lion: the sign of a mean of gradients.
//!
//! $$U = \operatorname{sign}(\beta_1 m_{t-1} + (1-\beta_1) g_t), \qquad
//! m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t$$

use burn::optim::LionConfig;

use super::{Hyperparameter, Rule, State, adam::ADAM};

/// Lion.
pub(super) const LION: Rule = Rule {
    name: "lion",
    title: "Lion",
    reference: "arXiv:2302.06675",
    formula: r"\operatorname{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g_t)",
    why: "a sign does not see a positive factor",
    rate: 0.003,
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.99),
    ],
    state: &[State::new("momentum", -1)],
    build: |settings| {
        let config = LionConfig::new()
            .with_beta_1(settings.single("beta_1"))
            .with_beta_2(settings.single("beta_2"))
            .with_weight_decay(settings.single("weight_decay"));
        config.build().into()
    },
    ..ADAM
};
