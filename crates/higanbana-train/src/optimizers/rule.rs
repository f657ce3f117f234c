//! What is known of an optimizer.

use std::sync::Arc;

use burn::optim::{ModuleOptimizer, Optimizer};

/// An optimizer: its update, how it scales, how to build it.
///
/// The theorem asks one thing of the update
/// $$\theta_{t+1} = \theta_t - \eta U(g_0, \dots, g_t; \theta_0, \dots, \theta_t),$$
/// that it be homogeneous: with every gradient multiplied by $s > 0$ and every parameter by $t > 0$, and
/// the hyperparameters [along with them](Hyperparameter::power),
/// $$U(s g; t\theta) = s^k t^j U(g; \theta).$$
/// Scaling the parameters by $a$ divides the gradients by $a$, so that $\eta' = a^c \eta$ with
/// $c = k + 1 - j$ makes $\theta'_t = a \theta_t$ for all $t$.
#[derive(Debug)]
pub struct Rule {
    /// Name on the command line.
    pub name: &'static str,
    /// Name in prose.
    pub title: &'static str,
    /// Where it was published.
    pub reference: &'static str,
    /// The update $U$, as a formula.
    pub formula: &'static str,
    /// $k$: degree of the update in the history of gradients.
    pub gradient_degree: i32,
    /// $j$: degree of the update in the history of parameters; 0 unless the step is measured by them.
    pub parameter_degree: i32,
    /// Why these are the degrees.
    pub why: &'static str,
    /// A learning rate at which small networks train.
    pub rate: f64,
    /// The hyperparameters besides the learning rate.
    pub hyperparameters: &'static [Hyperparameter],
    /// What it carries from step to step.
    pub state: &'static [State],
    /// Whether Burn holds the hyperparameters in `f32`, so that scaled ones are rounded.
    pub single_precision: bool,
    /// Why clipping the gradients first changes nothing, where that is so.
    pub ignores_clipping: Option<&'static str>,
    /// Why it must not start from tensors of zeros, where that is so.
    pub needs_nonzero: Option<&'static str>,
    /// A number that follows from all tensors of a group together.
    pub shared: Option<Shared>,
    /// Whether the degrees and powers were found numerically; those of the toolkit are proved.
    pub found: bool,
    /// Builds it.
    pub build: fn(&Settings) -> Engine,
}

impl Rule {
    /// $c = k + 1 - j$: the learning rate scales with $a^c$.
    pub fn c(&self) -> i32 {
        self.gradient_degree + 1 - self.parameter_degree
    }

    /// $k$ and $j$.
    pub fn degrees(&self) -> [i32; 2] {
        [self.gradient_degree, self.parameter_degree]
    }

    /// The default hyperparameters.
    pub fn settings(&self) -> Settings {
        Settings(self.hyperparameters.iter().map(|h| (h.name, h.value)).collect())
    }

    /// A hyperparameter as the optimizer holds it.
    pub fn held(&self, value: f64) -> f64 {
        if self.single_precision { f64::from(value as f32) } else { value }
    }

    /// The hyperparameters of a role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &'static Hyperparameter> {
        self.hyperparameters.iter().filter(move |h| h.role == role)
    }
}

/// A number that follows from all tensors of a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// The norm of their gradients.
    Norm,
    /// An estimate of how far they have to go.
    Estimate,
}

impl Shared {
    /// What it is.
    pub fn what(self) -> &'static str {
        match self {
            Self::Norm => "one norm of the gradients",
            Self::Estimate => "one estimate of a distance",
        }
    }

    /// The power of $a$ that it scales with.
    pub fn power(self) -> i32 {
        match self {
            Self::Norm => -1,
            Self::Estimate => 1,
        }
    }
}

/// What a hyperparameter is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Keeps a quotient finite, or a step from vanishing.
    Epsilon,
    /// Added to the diagonal of a matrix of squares, so that it can be inverted.
    Ridge,
    /// Keeps gradients from being divided by a norm of 0.
    Norm,
    /// Pulls parameters to zero.
    Decay,
    /// First estimate of something that is then learned.
    Estimate,
    /// A pure number, such as a momentum.
    Number,
}

/// A hyperparameter besides the learning rate.
#[derive(Debug, Clone, Copy)]
pub struct Hyperparameter {
    /// Name.
    pub name: &'static str,
    /// What it is there for.
    pub role: Role,
    /// Default.
    pub value: f64,
    /// It scales with this power of $a$.
    pub power: i32,
    /// Why.
    pub why: &'static str,
}

impl Hyperparameter {
    /// What it has to be, if a value is not: what scales is not negative, and a pure number that is below 1
    /// by default, such as a momentum, stays there.
    pub fn wants(&self, value: f64) -> Option<&'static str> {
        let below_one = 0.0..1.0;
        match self.role {
            Role::Number if below_one.contains(&self.value) => {
                (!below_one.contains(&value)).then_some("a number from 0 to below 1")
            }
            Role::Number => (!value.is_finite()).then_some("a number"),
            _ => (!(0.0..=f64::MAX).contains(&value)).then_some("0 or more"),
        }
    }

    /// A pure number, which does not scale.
    pub(super) const fn number(name: &'static str, value: f64) -> Self {
        Self { name, role: Role::Number, value, power: 0, why: "a pure number" }
    }

    /// An ε that is added to a magnitude of gradients.
    pub(super) const fn epsilon(value: f64) -> Self {
        Self {
            name: "eps",
            role: Role::Epsilon,
            value,
            power: -1,
            why: "it is added to a magnitude of gradients, which scales with 1/a",
        }
    }

    /// L2 decay, added to the gradient.
    pub(super) const fn coupled_decay() -> Self {
        Self {
            name: "weight_decay",
            role: Role::Decay,
            value: 0.0,
            power: -2,
            why: "decay · θ is added to the gradient: it has to scale with 1/a while θ scales with a",
        }
    }

    /// Decay of the parameters themselves, of an optimizer with this $c$.
    pub(super) const fn decoupled_decay(value: f64, c: i32) -> Self {
        Self {
            name: "weight_decay",
            role: Role::Decay,
            value,
            power: -c,
            why: "rate · decay is a pure number, and the rate scales with a^c",
        }
    }
}

/// What an optimizer carries from step to step: a tensor for each parameter, or a number for all of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Name, as checkpoints have it.
    pub name: &'static str,
    /// What it holds, where that may be one of two things.
    pub form: Option<&'static str>,
    /// It scales with this power of $a$.
    pub power: i32,
}

impl State {
    pub(super) const fn new(name: &'static str, power: i32) -> Self {
        Self { name, form: None, power }
    }

    pub(super) const fn of(name: &'static str, form: &'static str, power: i32) -> Self {
        Self { name, form: Some(form), power }
    }
}

/// Values of the hyperparameters of one optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(pub(super) Vec<(&'static str, f64)>);

impl Settings {
    /// The value of a hyperparameter.
    ///
    /// # Panics
    /// When the optimizer has none of this name.
    pub fn get(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no hyperparameter `{name}` in {:?}", self.0)).1
    }

    /// With another value.
    ///
    /// # Panics
    /// When the optimizer has none of this name.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        let found = self.0.iter_mut().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no hyperparameter `{name}`")).1 = value;
        self
    }

    /// Names and values, in the order of the optimizer.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().copied()
    }

    /// The value in the precision in which Burn holds it.
    pub(super) fn single(&self, name: &str) -> f32 {
        self.get(name) as f32
    }
}

/// An optimizer at work: Burn's, which sees one tensor at a time, and what must see all of them.
#[derive(Clone)]
pub struct Engine {
    pub(crate) step: ModuleOptimizer,
    /// Divides all gradients by their norm plus this.
    pub(crate) normalise: Option<f64>,
    /// What the tensors of a group share.
    pub(crate) common: Option<Arc<dyn Common>>,
}

/// Numbers that follow from all tensors of a group together.
pub(crate) trait Common: Send + Sync {
    /// Every tensor has been stepped.
    fn after(&self);
    /// The numbers as they are between two steps.
    fn numbers(&self) -> Vec<f64>;
    /// Takes up such numbers again.
    fn restore(&self, numbers: &[f64]);
}

impl<O: Optimizer> From<O> for Engine {
    fn from(optimizer: O) -> Self {
        Self { step: optimizer.into(), normalise: None, common: None }
    }
}
