//! The singular spectrum of a weight, on the host and in `f64`: decomposition, measures of rank,
//! and the best approximations by a given structure.
//!
//! Nothing here is differentiable; every function reads its tensors to the host.

mod approximate;
mod budget;
mod error;
mod hadamard;
mod measures;
mod svd;
mod symmetric;

pub use approximate::{KronApproximation, low_rank, nearest_kron, truncated, truncation_error};
pub use budget::Budget;
pub use error::SpectrumError;
pub use hadamard::{HadamardApproximation, fit_hadamard};
pub use measures::{
    effective_rank, frobenius_norm, nuclear_norm, numerical_rank, rank_at_energy, spectral_norm,
    stable_rank,
};
pub use svd::{Svd, singular_values, svd};
pub use symmetric::symmetric_power;
