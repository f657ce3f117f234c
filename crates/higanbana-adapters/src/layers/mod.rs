//! Layers that know adapters: Burn's own `Linear` and `Conv2d`, with a second forward path.
//!
//! *Definition*: the effective weight is built and the layer runs with it, as any Burn layer does
//! through its reparameterised parameter. *Shortcut*: the layer runs with the frozen weight, and the
//! adapters add what they do to the features,
//!
//! $$y = op(x, W_0) + \sum_i op\big(x, W_i(\mu_i) - W_0\big) + b,$$
//!
//! so that no weight and no gradient of a weight's size exists. Both are equal in value and gradient;
//! [`Work`] says which one runs where [`PathChoice`] does not.

mod conv2d;
mod cost;
mod linear;
mod shortcut;
#[cfg(test)]
mod tests;
mod watch;

pub use conv2d::Conv2d;
pub use cost::{Work, cheaper};
pub use linear::Linear;
pub use watch::first_not_finite;

use burn::module::Module;
use higanbana_core::{PathChoice, slot};

/// Chooses the forward path of every adapted layer of a model.
pub fn set_path<M: Module>(model: M, path: PathChoice) -> M {
    slot::edit(model, |slot| slot.path = path)
}
