//! Adapter files and the bases that they are for: merging and inspecting.

mod error;
mod held;
mod inspect;
mod leftover;
mod merge;
mod parameter;
mod survey;
#[cfg(test)]
mod tests;

use higanbana_core::Registry;

pub use error::ApplyError;
pub(crate) use held::of_weight;
pub use held::{Acting, Held, Holding, ModuleReader};
pub use inspect::{AdapterRow, Adapters, Contents, Count, Inspection, inspect};
pub use leftover::Leftover;
pub(crate) use leftover::Leftovers;
pub use merge::{Merge, Planned, Source};
pub(crate) use parameter::weight_or_bias;
pub use parameter::{Parameter, expect_float, read_matrix};
pub use survey::{Overview, Survey, Surveyed};

use crate::Stems;

/// The names that the algorithms give their tensors.
pub fn stems(registry: &Registry) -> Stems {
    Stems::new(registry.iter().flat_map(|kind| kind.keys()))
}
