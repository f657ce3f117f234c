//! AdamW: Adam, with the parameters themselves pulled to zero.
//!
//! $$\theta_{t+1} = (1 - \eta\lambda) \theta_t - \eta \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$

use burn::optim::{AdamW, AdamWConfig};

use super::{Hyperparameter, Rule, Settings, adam::ADAM};

/// AdamW.
pub(super) const ADAMW: Rule = Rule {
    name: "adamw",
    title: "AdamW",
    reference: "arXiv:1711.05101",
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.01, 1),
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-8),
    ],
    build: |settings| build(settings).into(),
    ..ADAM
};

/// Burn's AdamW, which also serves vectors where an optimizer takes matrices only.
pub(super) fn build(settings: &Settings) -> AdamW {
    AdamWConfig::new()
        .with_beta_1(settings.single("beta_1"))
        .with_beta_2(settings.single("beta_2"))
        .with_epsilon(settings.single("eps"))
        .with_weight_decay(settings.single("weight_decay"))
        .build()
}
