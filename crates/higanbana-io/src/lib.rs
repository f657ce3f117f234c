//! Files: model checkpoints and adapter files of every dialect, in safetensors.

#![warn(missing_docs)]

pub mod apply;
pub mod cast;
pub mod checkpoint;
pub mod dialect;
mod dtype;
mod error;
mod hash;
pub mod names;
pub mod refit;
pub mod writer;

pub use apply::{ApplyError, Leftover, Merge, Source};
pub use checkpoint::{Checkpoint, Info};
pub use dialect::{AdapterFile, AdapterReader, Dialect, Stems};
pub use dtype::{burn_dtype, file_dtype};
pub use error::FileError;
pub use hash::sshs_model_hash;
pub use names::{Names, Target};
pub use safetensors::Dtype;
