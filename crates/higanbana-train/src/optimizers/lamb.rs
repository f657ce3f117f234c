//! LAMB: Adam's direction, as long as the tensor that it moves.
//!
//! $$U = \frac{\lVert\theta\rVert}{\lVert r_t + \lambda\theta\rVert} (r_t + \lambda\theta), \qquad
//! r_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$
//!
//! Where a norm is 0 the quotient is taken to be 1, and the step no longer scales with the parameters.

use burn::optim::LambConfig;

use super::{Hyperparameter, Role, Rule, adam::ADAM};

/// LAMB.
pub(super) const LAMB: Rule = Rule {
    name: "lamb",
    title: "LAMB",
    reference: "arXiv:1904.00962",
    formula: r"\frac{\lVert\theta\rVert}{\lVert r_t + \lambda\theta\rVert} (r_t + \lambda\theta)",
    parameter_degree: 1,
    why: "Adam's update, of degree 0 in the gradients, at the length of the parameters",
    hyperparameters: &[
        Hyperparameter {
            name: "weight_decay",
            role: Role::Decay,
            value: 0.0,
            power: -1,
            why: "decay · θ is added to a direction without scale, while θ scales with a",
        },
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-6),
    ],
    needs_nonzero: Some("a tensor of zeros has no length to step by, and gets a step of length 1"),
    build: |settings| {
        let config = LambConfig::new()
            .with_beta_1(settings.single("beta_1"))
            .with_beta_2(settings.single("beta_2"))
            .with_epsilon(settings.single("eps"))
            .with_weight_decay(settings.single("weight_decay"));
        config.build().into()
    },
    ..ADAM
};
