//! Adafactor with the parameter scale, without the relative step.
//!
//! $$U = \max(\epsilon_2, \operatorname{rms}\theta) \quad
//! \frac{u_t}{\max(1, \operatorname{rms}(u_t)/d)}, \qquad u_t = \frac{g_t}{\sqrt{\hat v_t}}$$
//!
//! where $\hat v$ is the product of the means of $g^2 + \epsilon_1$ over rows and over columns. Without
//! the parameter scale it would be an optimizer with $c = 1$; with a relative step the rate is capped by
//! $1/\sqrt t$, which scales with nothing and so is kept out.

use burn::optim::AdafactorConfig;

use super::{Hyperparameter, Role, Rule, State, adam::ADAM};

/// Adafactor.
pub(super) const ADAFACTOR: Rule = Rule {
    name: "adafactor",
    title: "Adafactor",
    reference: "arXiv:1804.04235",
    formula: r"\max(\epsilon_2, \operatorname{rms}\theta)\,u_t / \max(1, \operatorname{rms}(u_t)/d)",
    parameter_degree: 1,
    why: "a direction of degree 0 in the gradients, at the root mean square of the parameters",
    rate: 0.05,
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 0),
        Hyperparameter {
            name: "eps_1",
            role: Role::Epsilon,
            value: 1e-30,
            power: -2,
            why: "it is added to squares of gradients",
        },
        Hyperparameter {
            name: "eps_2",
            role: Role::Epsilon,
            value: 1e-3,
            power: 1,
            why: "it is a floor of the magnitude of parameters",
        },
        Hyperparameter::number("clip_threshold", 1.0),
        Hyperparameter::number("decay_rate", -0.8),
    ],
    state: &[State::new("second_moment", -2), State::new("column_second_moment", -2)],
    build: |settings| {
        let config = AdafactorConfig::new()
            .with_epsilon_1(settings.single("eps_1"))
            .with_epsilon_2(settings.single("eps_2"))
            .with_clip_threshold(settings.single("clip_threshold"))
            .with_decay_rate(settings.get("decay_rate"))
            .with_relative_step(false)
            .with_scale_parameter(true)
            .with_weight_decay(settings.single("weight_decay"));
        config.build().into()
    },
    ..ADAM
};
