//! The singular spectrum of a weight, on the host and in `f64`: decomposition, measures of rank,
//! and the best approximations by a given structure.
//!
//! Nothing here is differentiable; every function reads its tensors to the host.

mod approximate;
mod bounded;
mod budget;
mod distance;
mod error;
mod hadamard;
mod host;
mod jacobi;
mod measures;
mod procrustes;
mod subspaces;
mod svd;
mod symmetric;

pub use approximate::{KronApproximation, low_rank, nearest_kron, truncated, truncation_error};
pub use bounded::bounded_singular_values;
pub use budget::Budget;
pub use distance::{frobenius, relative_error};
pub use error::SpectrumError;
pub use hadamard::{HadamardApproximation, fit_hadamard};
pub use measures::{
    condition_number, effective_rank, frobenius_norm, nuclear_norm, numerical_rank, rank_at_energy,
    spectral_norm, stable_rank, vendi_score,
};
pub use procrustes::procrustes;
pub use subspaces::{intruder_dimensions, leading_angles, likeness, principal_angles};
pub use svd::{Svd, singular_values, svd};
pub use symmetric::symmetric_function;
