//! The spectral decomposition of a symmetric matrix.

use burn::tensor::{Tensor, TensorData};
use faer::{Mat, Side, linalg::evd::EvdError};

use super::{SpectrumError, svd::HostMatrix};

/// A function of a symmetric matrix, computed in `f64` on the host.
///
/// $$A = Q \operatorname{diag}(\lambda) Q^\top, \qquad
/// f(A) = Q \operatorname{diag}(f(\lambda_1), \dots, f(\lambda_n)) Q^\top$$
///
/// ```text
/// matrix [n, n]  ->  [n, n]
/// ```
///
/// Above the diagonal nothing is read.
///
/// # Errors
///
/// On an entry that is not finite, on an iteration that does not converge, and where the tensor
/// cannot be read.
///
/// # Panics
///
/// When the matrix is not square.
pub fn symmetric_function(
    matrix: &Tensor<2>,
    f: impl Fn(f64) -> f64,
) -> Result<Tensor<2>, SpectrumError> {
    let host = HostMatrix::read(matrix)?;
    let n = host.rows;
    let failed = |EvdError::NoConvergence| SpectrumError::NoConvergence { rows: n, cols: n };
    let factors = host.view().self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let (q, values) = (factors.U(), factors.S().column_vector());
    let scaled = Mat::from_fn(n, n, |i, j| q[(i, j)] * f(values[j]));
    let value = scaled * q.transpose();
    let entries: Vec<f64> = (0..n * n).map(|at| value[(at / n, at % n)]).collect();
    let options = (&matrix.device(), matrix.dtype());
    Ok(Tensor::from_data(TensorData::new(entries, [n, n]), options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{close, sample, tensor};

    #[test]
    fn powers_multiply_to_the_whole() {
        for n in [1, 3, 12] {
            let x = sample([n, n + 2], 4);
            let matrix = x.clone().matmul(x.transpose());
            let root = symmetric_function(&matrix, |x| x.powf(0.25)).unwrap();
            let square = root.clone().matmul(root);
            close(square.clone().matmul(square), matrix.clone(), 1e-13);
            let identity = symmetric_function(&matrix, f64::recip).unwrap().matmul(matrix);
            let eye: Vec<f64> = (0..n * n).map(|i| f64::from(i % (n + 1) == 0)).collect();
            close(identity, tensor([n, n], &eye), 1e-9);
        }
    }

    #[test]
    fn a_root_by_hand() {
        // Eigenvalues 1 and 9 along (1, -1) and (1, 1).
        let matrix = tensor([2, 2], &[5.0, 4.0, 4.0, 5.0]);
        let root = symmetric_function(&matrix, f64::sqrt).unwrap();
        close(root, tensor([2, 2], &[2.0, 1.0, 1.0, 2.0]), 1e-15);
        assert!(symmetric_function(&tensor([1, 1], &[f64::NAN]), f64::sqrt).is_err());
    }
}
