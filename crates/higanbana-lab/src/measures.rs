//! What is measured of a matrix.

use burn::tensor::{DType, Tensor};
use higanbana_core::spectrum::{self, SpectrumError};
use serde::{Deserialize, Serialize};

/// Rounding of a computed update, in units of that of its element type: what its rank is counted above.
const ROUNDING: f64 = 8.0;

/// Rank and size of one matrix; [`spectrum`] says what each measure is. All are 0 of the zero matrix.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Numerical rank: singular values above `8 max(m, n) ε σ₁`.
    pub rank: usize,
    /// Stable rank.
    pub stable_rank: f64,
    /// Effective rank of Roy and Vetterli.
    pub effective_rank: f64,
    /// Least rank with 90 % of the energy.
    pub rank_90: usize,
    /// Least rank with 99 % of the energy.
    pub rank_99: usize,
    /// Frobenius norm.
    pub frobenius: f64,
    /// Spectral norm.
    pub spectral: f64,
    /// Nuclear norm.
    pub nuclear: f64,
}

impl Measures {
    /// Of a matrix, which has this rank or less.
    ///
    /// # Errors
    /// When an entry is not finite, or the decomposition does not converge.
    pub fn of(matrix: &Tensor<2>, bound: usize) -> Result<Self, SpectrumError> {
        let s = spectrum::bounded_singular_values(matrix, bound)?;
        Ok(Self::of_spectrum(&s, matrix.dims(), matrix.dtype()))
    }

    /// Of the singular values of a matrix of this shape and element type.
    pub fn of_spectrum(s: &[f64], [rows, cols]: [usize; 2], dtype: DType) -> Self {
        let epsilon = ROUNDING * dtype.finfo().map_or(f64::EPSILON, |float| float.epsilon);
        Self {
            rank: spectrum::numerical_rank(s, rows, cols, epsilon),
            stable_rank: spectrum::stable_rank(s),
            effective_rank: spectrum::effective_rank(s),
            rank_90: spectrum::rank_at_energy(s, 0.9),
            rank_99: spectrum::rank_at_energy(s, 0.99),
            frobenius: spectrum::frobenius_norm(s),
            spectral: spectrum::spectral_norm(s),
            nuclear: spectrum::nuclear_norm(s),
        }
    }
}
