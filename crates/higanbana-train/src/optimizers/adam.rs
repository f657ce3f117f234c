//! Adam and AMSGrad, with L2 decay added to the gradient.
//!
//! $$m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \qquad
//! U = \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$
//!
//! AMSGrad puts the largest $v$ so far in the place of $v_t$, under the correction of this step:
//! $\hat v_t = \max_{s \le t} v_s / (1 - \beta_2^t)$.

use burn::optim::AdamConfig;

use super::{Engine, Hyperparameter, Rule, Settings, State, sgd::decay};

/// Adam.
pub(super) const ADAM: Rule = Rule {
    name: "adam",
    title: "Adam",
    reference: "arXiv:1412.6980",
    formula: r"\hat m_t / (\sqrt{\hat v_t} + \epsilon)",
    gradient_degree: 0,
    parameter_degree: 0,
    why: "a mean of gradients over the root of a mean of their squares",
    rate: 0.01,
    hyperparameters: &[
        Hyperparameter::coupled_decay(),
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[State::new("moment_1", -1), State::new("moment_2", -2)],
    single_precision: true,
    ignores_clipping: None,
    needs_nonzero: None,
    shared: None,
    found: false,
    build: |settings| build(settings, false),
};

/// AMSGrad.
pub(super) const AMSGRAD: Rule = Rule {
    name: "amsgrad",
    title: "AMSGrad",
    reference: "arXiv:1904.09237",
    formula: r"\hat m_t / (\sqrt{\max_{s \le t} v_s / (1 - \beta_2^t)} + \epsilon)",
    state: &[
        State::new("moment_1", -1),
        State::new("moment_2", -2),
        State::new("max_moment_2", -2),
    ],
    build: |settings| build(settings, true),
    ..ADAM
};

fn build(settings: &Settings, amsgrad: bool) -> Engine {
    let config = AdamConfig::new()
        .with_beta_1(settings.single("beta_1"))
        .with_beta_2(settings.single("beta_2"))
        .with_epsilon(settings.single("eps"))
        .with_amsgrad(amsgrad)
        .with_weight_decay(decay(settings));
    config.build().into()
}
