//! Adapters in another form: taken from two checkpoints, added up, of another rank, of another algorithm, in
//! another dialect. What that loses is measured on the tensors that are written.

mod choice;
mod combine;
mod convert;
mod error;
mod extract;
mod fit;
mod known;
mod modules;
mod outcome;
mod pair;
mod resize;
#[cfg(test)]
mod tests;

pub use choice::Choice;
pub use combine::{Combine, Combined, Part};
pub use convert::{Bake, Convert, Converted};
pub use error::{FitError, RefitError};
pub use extract::{Extract, Extracted};
pub use fit::{Fit, fit};
pub use outcome::{LeftOut, Refitted, Total};
pub use pair::Pair;
pub use resize::{Resize, Resized};
