//! Muon: momentum, orthogonalised by Newton and Schulz's iteration.
//!
//! $$U = \sqrt{\max(1, h/w)} \operatorname{NS}\left(\frac{B_t}{\max(\epsilon, \lVert B_t \rVert_F)}\right),
//! \qquad B_t = \mu V_t + G_t, \quad V_t = \mu V_{t-1} + G_t$$
//!
//! of a matrix of $h$ rows and $w$ columns, with five steps of the iteration. Tensors of more dimensions
//! are matrices `[out, rest]`; vectors take AdamW with the same rate.

use burn::optim::{MuonConfig, decay::WeightDecayConfig, momentum::MomentumConfig};

use super::{Hyperparameter, Role, Rule, State, adam::ADAM, adamw, matrices::Matrices};

/// Muon.
pub(super) const MUON: Rule = Rule {
    name: "muon",
    title: "Muon",
    reference: "Jordan 2024",
    formula: r"\sqrt{\max(1, h/w)}\,\operatorname{NS}(B_t / \max(\epsilon, \lVert B_t \rVert)),\; B_t = \mu V_t + G_t",
    why: "the iteration starts from momentum divided by its norm; vectors take AdamW",
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter::number("momentum", 0.95),
        Hyperparameter {
            name: "norm_floor",
            role: Role::Norm,
            value: 1e-7,
            power: -1,
            why: "it is a floor of a norm of gradients",
        },
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[State::new("velocity", -1), State::new("moment_1", -1), State::new("moment_2", -2)],
    build: |settings| {
        let muon = MuonConfig::new()
            .with_weight_decay(Some(WeightDecayConfig::new(settings.single("weight_decay"))))
            .with_momentum(MomentumConfig {
                momentum: settings.get("momentum"),
                dampening: 0.0,
                nesterov: true,
            })
            .with_epsilon(settings.single("norm_floor"));
        Matrices { matrix: muon.build(), vector: adamw::build(settings) }.into()
    },
    ..ADAM
};
