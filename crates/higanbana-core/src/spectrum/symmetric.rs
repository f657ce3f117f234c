//! The spectral decomposition of a symmetric matrix.

use burn::tensor::{Tensor, TensorData};
use faer::{Side, linalg::evd::EvdError};

use super::{SpectrumError, svd::HostMatrix};

/// A power of a symmetric positive definite matrix, computed in `f64` on the host.
///
/// $$A = Q \operatorname{diag}(\lambda)\, Q^\top, \qquad A^p = Q \operatorname{diag}(\lambda^p)\, Q^\top$$
///
/// ```text
/// matrix [n, n]  ->  [n, n]
/// ```
///
/// Eigenvalues below the rounding of the largest count as that: they are zeros that rounding moved.
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
pub fn symmetric_power(matrix: &Tensor<2>, power: f64) -> Result<Tensor<2>, SpectrumError> {
    let host = HostMatrix::read(matrix)?;
    let n = host.rows;
    let failed = |EvdError::NoConvergence| SpectrumError::NoConvergence { rows: n, cols: n };
    let factors = host.view().self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let (q, values) = (factors.U(), factors.S().column_vector());
    let floor = values.iter().fold(0.0, |largest: f64, x| largest.max(*x)) * f64::EPSILON;
    let powers: Vec<f64> = values.iter().map(|x| x.max(floor).powf(power)).collect();
    let tensor = |entry: &dyn Fn(usize, usize) -> f64| {
        let entries = (0..n * n).map(|at| entry(at / n, at % n)).collect::<Vec<f64>>();
        let options = (&matrix.device(), burn::tensor::DType::F64);
        Tensor::<2>::from_data(TensorData::new(entries, [n, n]), options)
    };
    let scaled = tensor(&|i, j| q[(i, j)] * powers[j]);
    Ok(scaled.matmul(tensor(&|i, j| q[(j, i)])))
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
            let root = symmetric_power(&matrix, 0.25).unwrap();
            let square = root.clone().matmul(root);
            close(square.clone().matmul(square), matrix.clone(), 1e-13);
            let identity = symmetric_power(&matrix, -1.0).unwrap().matmul(matrix);
            let eye: Vec<f64> = (0..n * n).map(|i| f64::from(i % (n + 1) == 0)).collect();
            close(identity, tensor([n, n], &eye), 1e-9);
        }
    }

    #[test]
    fn a_root_by_hand() {
        // Eigenvalues 1 and 9 along (1, -1) and (1, 1).
        let matrix = tensor([2, 2], &[5.0, 4.0, 4.0, 5.0]);
        close(symmetric_power(&matrix, 0.5).unwrap(), tensor([2, 2], &[2.0, 1.0, 1.0, 2.0]), 1e-15);
        assert!(symmetric_power(&tensor([1, 1], &[f64::NAN]), 0.5).is_err());
    }
}
