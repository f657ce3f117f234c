//! The singular values of a matrix whose rank is known to be small.

use burn::tensor::Tensor;
use faer::Mat;
use rand_distr::{Distribution, StandardNormal};

use super::{
    SpectrumError,
    host::{HostMatrix, values},
};
use crate::init::stream;

/// Columns beyond the bound, which rounding falls into.
const SPARE: usize = 8;

/// What may be left over, in units of rounding.
const ROUNDING: f64 = 256.0;

/// The singular values of a matrix of rank `bound` or less, in descending order: `min(m, n)` of them, as
/// [`singular_values`](super::singular_values) gives them, in `O(mn·bound)` instead of `O(mn·min(m, n))`.
///
/// $$A = Q Q^\top A \quad\text{for}\quad Q R = A \Omega, \qquad \sigma(A) = \sigma(Q^\top A)$$
///
/// with a random $\Omega$ of `bound + 8` columns: exact, with probability 1, but for rounding. What it
/// leaves over is measured; where that is more than rounding, the bound was wrong, and the whole matrix is
/// decomposed.
///
/// Source: N. Halko, P. Martinsson, J. Tropp (arXiv:0909.4061).
///
/// # Errors
///
/// Those of [`singular_values`](super::singular_values).
pub fn bounded_singular_values(
    matrix: &Tensor<2>,
    bound: usize,
) -> Result<Vec<f64>, SpectrumError> {
    let host = HostMatrix::read(matrix)?;
    let a = host.view();
    let least = a.nrows().min(a.ncols());
    let width = bound + SPARE;
    if 3 * width >= least {
        return values(a);
    }
    let mut rng = stream("range", 0);
    let omega = Mat::<f64>::from_fn(host.cols, width, |_, _| StandardNormal.sample(&mut rng));
    let q = (a * &omega).qr().compute_thin_Q();
    let inner = q.transpose() * a;
    let left = (a - &q * &inner).norm_l2();
    // What is beyond the range of numbers is not below, either.
    if left <= ROUNDING * f64::EPSILON * a.norm_l2() {
        let mut values = values(inner.as_ref())?;
        values.resize(least, 0.0);
        return Ok(values);
    }
    values(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{algebra::testing::sample, spectrum::singular_values};

    #[test]
    fn values_are_those_of_the_whole_whether_the_bound_holds_or_not() {
        let matrix = sample([60, 3], 1).matmul(sample([3, 80], 2));
        let whole = singular_values(&matrix).unwrap();
        for bound in [0, 3, 5, 60] {
            for matrix in [matrix.clone(), matrix.clone().transpose()] {
                let values = bounded_singular_values(&matrix, bound).unwrap();
                assert_eq!(values.len(), 60);
                let apart = |(a, b): (&f64, &f64)| (a - b).abs();
                let error =
                    values.iter().zip(&whole).map(apart).max_by(f64::total_cmp).unwrap_or_default();
                assert!(error < 1e-13 * whole[0], "bound {bound}: {error:e}");
            }
        }
    }

    #[test]
    fn a_bound_that_does_not_hold_changes_nothing() {
        let matrix = sample([50, 70], 3);
        assert_eq!(bounded_singular_values(&matrix, 2).unwrap(), singular_values(&matrix).unwrap());
    }

    #[test]
    fn the_zero_matrix_has_zeros() {
        let zero = sample([40, 50], 4).mul_scalar(0.0);
        assert_eq!(bounded_singular_values(&zero, 1).unwrap(), [0.0; 40]);
    }
}
