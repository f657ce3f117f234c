//! Adapters into any Burn module, and out of it again.
//!
//! Nothing about the model changes but its parameters: each adapted one carries a
//! [`Slot`](higanbana_core::Slot) with a stack of adapters, and `Param::val` gives the effective
//! weight. Optimizers, records, devices, `valid` and `train` see the adapters as parameters.
//!
//! * [`sites()`]: what there is to adapt;
//! * [`Rule`], [`Pattern`], [`Preset`]: what is to be adapted, and how;
//! * [`inject`]: new adapters; [`attach`]: adapters that were read from a file;
//! * [`set_strength`], [`freeze`], [`limit_norms`], [`detach`], [`adapters`], [`merge`]: life with them.
//!
//! ```
//! use burn::{module::Module, nn::LinearConfig, tensor::Device};
//! use higanbana_adapters::{inject::{self, Injection}, registry};
//!
//! # fn main() -> Result<(), inject::InjectError> {
//! let model = LinearConfig::new(8, 4).init(&Device::default());
//! let injection = Injection::new("style", "lora").options(toml::toml! { rank = 2 });
//! let (adapted, report) = inject::inject(&model, &registry(), &injection)?;
//! assert_eq!(report.parameters(), 2 * (8 + 4));
//! let half = inject::set_strength(&adapted, "style", 0.5)?;
//! let merged = inject::merge(&half);
//! assert_eq!(merged.num_params(), model.num_params());
//! # Ok(())
//! # }
//! ```
//!
//! All of these take the model by reference and give a new one, which shares its tensors: after an
//! error the model is as it was.

mod error;
mod injection;
mod norms;
mod pattern;
mod place;
mod presets;
mod rules;
mod sets;
mod sites;
#[cfg(test)]
mod tests;

pub use error::InjectError;
pub use injection::{Adapted, Injection, Report, inject};
pub use norms::{Norms, limit_norms};
pub use pattern::Pattern;
pub use place::attach;
pub use presets::Preset;
pub use rules::Rule;
pub use sets::{adapters, detach, freeze, merge, set_strength, sets};
pub use sites::{FoundSite, LayerKind, sites, sites_like};
