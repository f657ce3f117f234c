use burn::tensor::TensorReadError;
use thiserror::Error;

/// Why a spectrum could not be computed.
#[derive(Debug, Error)]
pub enum SpectrumError {
    /// An entry is NaN or infinite.
    #[error("entry ({row}, {col}) of the {rows}x{cols} matrix is {value}, not a finite number")]
    NonFinite {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Row of the first such entry.
        row: usize,
        /// Column of the first such entry.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// The iteration for the singular values did not end.
    #[error(
        "the singular value decomposition of the {rows}x{cols} matrix did not converge: after {sweeps} sweeps two \
         singular vectors are still {residual:.0e} off the right angle"
    )]
    NoConvergence {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Sweeps of rotations that were made.
        sweeps: usize,
        /// The largest cosine of two of its singular vectors.
        residual: f64,
    },
    /// A singular value is beyond the largest number.
    #[error("the largest singular value of the {rows}x{cols} matrix exceeds the largest f64")]
    Range {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// More or fewer terms were asked for than there are.
    #[error("rank {rank} is not between 1 and {max}, the rank of a {rows}x{cols} matrix")]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The number of singular values at hand.
        max: usize,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// The first Kronecker factor does not divide the weight.
    #[error("a {p}x{q} Kronecker factor does not divide the {out}x{inp} weight")]
    Indivisible {
        /// Rows of the factor.
        p: usize,
        /// Columns of the factor.
        q: usize,
        /// Outputs of the weight.
        out: usize,
        /// Inputs of the weight.
        inp: usize,
    },
    /// The tensor could not be read from its device.
    #[error(transparent)]
    Read(#[from] TensorReadError),
}
