//! Adapter files and the bases that they are for: merging and inspecting.

mod error;
mod found;
mod inspect;
mod leftover;
mod merge;
mod onto;
mod parameter;
mod strength;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use higanbana_core::{Glimpse, Registry};

pub use error::ApplyError;
pub(crate) use found::of_weight;
pub use found::{Found, Holding, ModuleReader, Resolved};
pub use inspect::{AdapterRow, Adapters, Contents, Count, Embeddings, Inspection, Row, inspect};
pub use leftover::Leftover;
pub(crate) use leftover::Leftovers;
pub use merge::{Fitting, Merge, Planned, Source};
pub use onto::{Base, Model, Placed};
pub(crate) use parameter::weight_or_bias;
pub use parameter::{Parameter, expect_float, read_matrix};
pub use strength::{Blocks, OPTIONS, Strength, is_option, number};
pub use survey::{Overview, Survey, Surveyed};

use crate::AdapterReader;

/// What a user should know of a file, one line each: of the file itself, and of what reading it assumes.
pub fn notes(reader: &AdapterReader, registry: &Registry) -> Vec<String> {
    let assumed = |module: &str| {
        let keys = reader.tensors(module).map(|(key, _)| key).collect();
        let alpha = reader.number(module, "alpha");
        let glimpse = Glimpse { keys, alpha, arguments: reader.arguments() };
        registry.iter().filter_map(|kind| kind.assumption(&glimpse)).collect::<Vec<_>>()
    };
    let assumed: BTreeSet<&str> = reader.modules().flat_map(assumed).collect();
    let of_file = |assumed: &str| format!("{}: {assumed}", reader.path().display());
    reader.notes().iter().cloned().chain(assumed.into_iter().map(of_file)).collect()
}
