//! How the singular vectors of two matrices of one shape lie to each other. No sign or order of
//! vectors matters here, beyond which of them are asked for.

use burn::tensor::Tensor;
use faer::{Mat, MatRef};

use super::{SpectrumError, Svd, host::values, svd};

/// The intruder dimensions of a tuned matrix: those of its first `k` left singular vectors that are
/// like none of the base's.
///
/// $$\operatorname{card}\lbrace j \le k : \max_i |\langle y_j, x_i \rangle| < \varepsilon \rbrace$$
///
/// One count for each `epsilon`. `x` are all left singular vectors of the base that belong to a
/// positive singular value, `y` those of the tuned matrix; a `k` beyond the latter counts them all.
/// The published definition leaves out the absolute value, without which the arbitrary sign of a
/// singular vector would decide. Where singular values are equal, so are vectors arbitrary: the
/// measure is of matrices whose leading values are apart.
///
/// Source: R. Shuttleworth et al. (arXiv:2410.21228).
///
/// # Panics
///
/// When the matrices have different numbers of rows.
pub fn intruder_dimensions(base: &Svd, tuned: &Svd, k: usize, epsilons: &[f64]) -> Vec<usize> {
    let likeness = likeness(base, tuned, k);
    epsilons.iter().map(|epsilon| likeness.iter().filter(|c| *c < epsilon).count()).collect()
}

/// $\max_i |\langle y_j, x_i \rangle|$ of the first `k` left singular vectors `y` of `tuned` over
/// those of `base`; vectors that belong to a zero singular value are left out of both.
pub fn likeness(base: &Svd, tuned: &Svd, k: usize) -> Vec<f64> {
    let inner = left(base, usize::MAX).transpose() * left(tuned, k);
    let largest = |j| (0..inner.nrows()).fold(0.0, |most: f64, i| most.max(inner[(i, j)].abs()));
    (0..inner.ncols()).map(largest).collect()
}

/// The principal angles between the column spaces of two matrices `[n, p]` and `[n, q]` of full
/// column rank, in radians and ascending, `min(p, q)` of them.
///
/// $$\cos \theta_i = \sigma_i(Q_A^\top Q_B), \qquad \sin \theta_i = \sigma_{i}((I - Q_A Q_A^\top) Q_B)$$
///
/// with orthonormal bases $Q$. Both are used: the sine is accurate where the angle is small, the cosine where
/// it is large.
///
/// Source: A. Knyazev, M. Argentati, Principal angles between subspaces (2002).
///
/// # Errors
///
/// Those of [`svd`].
///
/// # Panics
///
/// When the matrices have different numbers of rows.
pub fn principal_angles(a: &Tensor<2>, b: &Tensor<2>) -> Result<Vec<f64>, SpectrumError> {
    let (a, b) = (svd(a)?, svd(b)?);
    angles(&left(&a, usize::MAX), &left(&b, usize::MAX))
}

/// The principal angles between the spaces of the first `k` left singular vectors of two matrices.
///
/// # Errors
///
/// Those of [`svd`].
pub fn leading_angles(a: &Svd, b: &Svd, k: usize) -> Result<Vec<f64>, SpectrumError> {
    angles(&left(a, k), &left(b, k))
}

fn angles(a: &Mat<f64>, b: &Mat<f64>) -> Result<Vec<f64>, SpectrumError> {
    assert_eq!(a.nrows(), b.nrows(), "two subspaces of one space");
    // The sines are those of the smaller space against the larger.
    let (large, small) = if a.ncols() >= b.ncols() { (a, b) } else { (b, a) };
    if small.ncols() == 0 {
        return Ok(Vec::new());
    }
    let inner = large.transpose() * small;
    let apart = small - large * &inner;
    let (cosines, sines) = (values(inner.as_ref())?, values(apart.as_ref())?);
    Ok(cosines.iter().zip(sines.iter().rev()).map(|(cosine, sine)| sine.atan2(*cosine)).collect())
}

/// The first `k` left singular vectors, as columns, without those of a zero singular value: rounding
/// is all that those are made of.
fn left(svd: &Svd, k: usize) -> Mat<f64> {
    let Svd { rows, cols, s, u, .. } = svd;
    let rank = super::numerical_rank(s, *rows, *cols, f64::EPSILON);
    let u = MatRef::from_row_major_slice(u, *rows, s.len());
    u.subcols(0, k.min(rank)).to_owned()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;
    use crate::algebra::testing::{sample, tensor};

    fn diagonal(entries: [f64; 3]) -> Svd {
        let mut matrix = [0.0; 9];
        entries.iter().enumerate().for_each(|(i, x)| matrix[4 * i] = *x);
        svd(&tensor([3, 3], &matrix)).unwrap()
    }

    #[test]
    fn a_new_direction_that_leads_is_an_intruder() {
        let base = diagonal([3.0, 2.0, 0.0]);
        // The third axis is no direction of the base.
        let tuned = diagonal([3.0, 2.0, 9.0]);
        assert_eq!(intruder_dimensions(&base, &tuned, 1, &[0.1, 0.5]), [1, 1]);
        assert_eq!(intruder_dimensions(&base, &tuned, 3, &[0.5]), [1]);
        assert_eq!(intruder_dimensions(&base, &base, 9, &[0.5, 0.999]), [0, 0]);
    }

    #[test]
    fn signs_do_not_matter() {
        let (base, matrix) = (svd(&sample([6, 4], 1)).unwrap(), sample([6, 4], 1));
        let tuned = svd(&matrix.neg()).unwrap();
        assert_eq!(intruder_dimensions(&base, &tuned, 4, &[1.0 - 1e-12]), [0]);
    }

    #[test]
    fn nothing_intrudes_from_or_into_nothing_but_all_of_it() {
        let (zero, some) = (diagonal([0.0; 3]), diagonal([3.0, 2.0, 1.0]));
        assert_eq!(intruder_dimensions(&some, &zero, 3, &[0.5]), [0]);
        assert_eq!(intruder_dimensions(&zero, &some, 3, &[0.5]), [3]);
        assert_eq!(leading_angles(&zero, &some, 2).unwrap(), [0.0; 0]);
    }

    #[test]
    fn angles_are_those_that_were_put_in() {
        for angle in [0.0, 1e-9, 0.3, 1.2, FRAC_PI_2] {
            let a = tensor([4, 2], &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
            let (sine, cosine) = f64::sin_cos(angle);
            let b = tensor([4, 2], &[cosine, 0.0, 0.0, 5.0, sine, 0.0, 0.0, 0.0]);
            let angles = principal_angles(&a, &b).unwrap();
            assert!(angles[0].abs() < 1e-15 && (angles[1] - angle).abs() < 1e-15, "{angles:?}");
        }
    }

    #[test]
    fn a_line_in_a_plane_is_at_angle_zero() {
        let plane = sample([5, 2], 3);
        let line = plane.clone().matmul(sample([2, 1], 4));
        for angles in [principal_angles(&plane, &line), principal_angles(&line, &plane)] {
            let angles = angles.unwrap();
            assert!(angles.len() == 1 && angles[0] < 1e-14, "{angles:?}");
        }
    }
}
