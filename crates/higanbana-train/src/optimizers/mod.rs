//! Every optimizer with its degree of homogeneity.
//!
//! A [`Rule`] is one optimizer: what it does, how its update and its hyperparameters scale, and how
//! to build it. Burn's own serve where Burn has them; the others are here, one file each. L-BFGS is
//! left out: its line search evaluates the loss anew, so that its step is no function of the gradients
//! that came before, and the theorem says nothing about it.

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamw;
mod adan;
mod lamb;
mod lion;
mod matrices;
mod muon;
mod nadam;
mod normalized_sgd;
mod outside;
mod prodigy;
mod registry;
mod rmsprop;
mod rule;
mod sgd;
mod shampoo;
mod sign_sgd;
#[cfg(test)]
mod tests;

pub use outside::{NoRule, Outside};
pub use registry::{Known, Optimizers};
pub use rule::{Engine, Hyperparameter, Role, Rule, Settings, Shared, State};

/// All optimizers.
pub fn optimizers() -> &'static [Rule] {
    &[
        sgd::SGD,
        sgd::MOMENTUM,
        sgd::NESTEROV,
        adam::ADAM,
        adam::AMSGRAD,
        adamw::ADAMW,
        rmsprop::RMSPROP,
        adagrad::ADAGRAD,
        adan::ADAN,
        muon::MUON,
        sign_sgd::SIGN_SGD,
        lion::LION,
        nadam::NADAM,
        normalized_sgd::NORMALIZED_SGD,
        adafactor::ADAFACTOR,
        lamb::LAMB,
        adadelta::ADADELTA,
        prodigy::PRODIGY,
        shampoo::SHAMPOO,
    ]
}

/// The optimizer of this name.
pub fn optimizer(name: &str) -> Option<&'static Rule> {
    optimizers().iter().find(|rule| rule.name == name)
}
