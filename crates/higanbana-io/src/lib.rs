//! Files: model checkpoints and adapter files of every dialect.

pub mod apply;
pub mod cast;
pub mod checkpoint;
pub mod dialect;
mod dtype;
pub mod embedding;
mod error;
mod hash;
pub mod ledger;
pub mod lossy;
mod model;
pub mod names;
pub mod refit;
pub mod run;
#[cfg(test)]
mod testing;
pub mod writer;

pub use apply::{ApplyError, Leftover, Merge, Source, Strength};
use checkpoint::float8;
pub use checkpoint::{Checkpoint, Info, weight_files};
pub use dialect::{AdapterFile, AdapterReader, Dialect};
pub use dtype::{burn_dtype, file_dtype};
pub use embedding::Embedding;
pub use error::FileError;
pub use hash::sshs_model_hash;
pub use model::{Loaded, load, save};
pub use names::{Names, Target, lycoris_name};
pub use safetensors::Dtype;
