//! Adan: Nesterov's momentum from differences of gradients, with proximal decay.
//!
//! $$U = \frac{\hat m_t + \beta_2 \hat d_t}{\sqrt{\hat n_t} + \epsilon}, \qquad
//! \theta_{t+1} = \frac{\theta_t - \eta U}{1 + \eta\lambda}$$
//!
//! with means $m$ of $g_t$, $d$ of $g_t - g_{t-1}$ and $n$ of $(g_t + \beta_2 (g_t - g_{t-1}))^2$.

use burn::optim::AdanConfig;

use super::{Hyperparameter, Rule, State, adam::ADAM};

/// Adan.
pub(super) const ADAN: Rule = Rule {
    name: "adan",
    title: "Adan",
    reference: "arXiv:2208.06677",
    formula: r"(\hat m_t + \beta_2 \hat d_t) / (\sqrt{\hat n_t} + \epsilon)",
    why: "means of gradients and of their differences over the root of a mean of squares",
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter::number("beta_1", 0.98),
        Hyperparameter::number("beta_2", 0.92),
        Hyperparameter::number("beta_3", 0.99),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[
        State::new("exp_avg", -1),
        State::new("exp_avg_diff", -1),
        State::new("neg_pre_grad", -1),
        State::new("exp_avg_sq", -2),
    ],
    build: |settings| {
        let config = AdanConfig::new()
            .with_beta_1(settings.single("beta_1"))
            .with_beta_2(settings.single("beta_2"))
            .with_beta_3(settings.single("beta_3"))
            .with_epsilon(settings.single("eps"))
            .with_weight_decay(settings.single("weight_decay"));
        config.build().into()
    },
    ..ADAM
};
