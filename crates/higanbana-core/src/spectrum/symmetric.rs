//! The spectral decomposition of a symmetric matrix.

use burn::tensor::{Tensor, TensorData};
use faer::{Mat, Scale, Side};

use super::{
    SpectrumError,
    distance::unit,
    host::{HostMatrix, factors, is_sound},
    jacobi::Factors,
};

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
    let unit = unit(host.view().norm_max());
    let a = Mat::from_fn(n, n, |i, j| host.view()[(i.max(j), i.min(j))] * unit);
    let direct = a.self_adjoint_eigen(Side::Lower).ok().map(|found| {
        let s = found.S().column_vector().iter().copied().collect();
        Factors { u: found.U().to_owned(), s, v: found.U().to_owned() }
    });
    let Factors { u, s, v } = match direct.filter(|found| is_sound(a.as_ref(), found)) {
        Some(found) => found,
        None => shifted(a)?,
    };
    let scaled = Mat::from_fn(n, n, |i, j| u[(i, j)] * f(s[j] / unit));
    let value = scaled * v.transpose();
    let entries: Vec<f64> = (0..n * n).map(|at| value[(at / n, at % n)]).collect();
    let options = (&matrix.device(), matrix.dtype());
    Ok(Tensor::from_data(TensorData::new(entries, [n, n]), options))
}

/// The decomposition by singular values, which are the eigenvalues where none is negative.
///
/// $$A + \lVert A \rVert_F I = Q \operatorname{diag}(\lambda + \lVert A \rVert_F) Q^\top$$
fn shifted(a: Mat<f64>) -> Result<Factors, SpectrumError> {
    let (n, shift) = (a.nrows(), a.norm_l2());
    let Factors { u, s, .. } = factors((a + Mat::<f64>::identity(n, n) * Scale(shift)).as_ref())?;
    Ok(Factors { v: u.clone(), s: s.iter().map(|s| s - shift).collect(), u })
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
    fn eigenvalues_of_either_sign_are_singular_values_once_shifted() {
        let x = sample([7, 7], 5);
        let host = HostMatrix::read(&(x.clone() + x.transpose())).unwrap();
        let found = shifted(host.view().to_owned()).unwrap();
        assert!(is_sound(host.view(), &found));
        assert!(found.s[0] > 0.0 && found.s[6] < 0.0, "{:?}", found.s);
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
