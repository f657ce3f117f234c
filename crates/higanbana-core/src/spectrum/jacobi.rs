//! The singular value decomposition by rotations of pairs of columns: slower than the bidiagonal iteration, but it
//! always comes nearer, and knows how near it is.
//!
//! Hestenes' one-sided method turns two columns $x$, $y$ of a matrix $B$ in their plane,
//!
//! $$(x, y) \gets (c x + s y, c y - s x), \qquad t = \tfrac{s}{c} = \frac{\operatorname{sgn} \zeta}{|\zeta| + \sqrt{1 + \zeta^2}},
//! \qquad \rho = \frac{x^\top y}{\lVert x \rVert \lVert y \rVert},
//! \qquad \zeta = \frac{1}{2\rho} \Bigl(\frac{\lVert x \rVert}{\lVert y \rVert} - \frac{\lVert y \rVert}{\lVert x \rVert}\Bigr),$$
//!
//! until they are at right angles. Each turn takes $2 (x^\top y)^2$ from the squares off the diagonal of $B^\top B$; once
//! these are small, the cosines $\rho$ fall quadratically from one sweep over all pairs to the next. In the end
//! $B Z = W \Sigma$, with the turns in $Z$ and the lengths of the columns in $\Sigma$, so that
//!
//! $$A = Q B, \qquad A = (Q W) \Sigma Z^\top$$
//!
//! for the triangle $B$ of a matrix $A$ that is not wide. Lengths and cosines, never their products, are compared:
//! columns of any length become orthogonal, and small singular values of columns of unequal length keep their
//! digits.
//!
//! Sources: M. Hestenes (1958); P. de Rijk (1989), who begins with the longest.

use faer::{ColRef, Mat, MatRef};

/// A length of which rounding would be below all numbers: whatever depends on other columns shrinks to it.
const NEGLIGIBLE: f64 = f64::MIN_POSITIVE / f64::EPSILON;

/// A thin decomposition $A = U \Sigma V^\top$, the largest singular value first.
pub(super) struct Factors {
    pub u: Mat<f64>,
    pub s: Vec<f64>,
    pub v: Mat<f64>,
}

/// Decomposes a matrix whose squares are within the range of numbers.
///
/// # Errors
///
/// The largest cosine of two columns that the last sweep met, where so many sweeps were too few.
pub(super) fn jacobi(a: MatRef<'_, f64>, sweeps: usize) -> Result<Factors, f64> {
    if a.nrows() < a.ncols() {
        let Factors { u, s, v } = jacobi(a.transpose(), sweeps)?;
        return Ok(Factors { u: v, s, v: u });
    }
    let n = a.ncols();
    let qr = a.qr();
    // The columns of the triangle, and below each that of the identity: what turns one turns the other.
    let unit = |j: usize| (0..n).map(move |i| if i == j { 1.0 } else { 0.0 });
    let mut columns: Vec<Vec<f64>> =
        (0..n).map(|j| qr.thin_R().col(j).iter().copied().chain(unit(j)).collect()).collect();
    let tolerance = f64::EPSILON * (n as f64).sqrt();
    let mut residual = f64::INFINITY;
    for _ in 0..sweeps {
        columns.sort_by(|x, y| length(y).total_cmp(&length(x)));
        residual = sweep(&mut columns, tolerance);
        if residual <= tolerance {
            break;
        }
    }
    if residual > tolerance {
        return Err(residual);
    }
    // W is the columns at length 1, and in place of those of no length whatever is orthogonal to the others.
    let turned = Mat::from_fn(n, n, |i, j| columns[j][i]).qr();
    let (w, along) = (turned.compute_thin_Q(), turned.thin_R());
    let w = Mat::from_fn(n, n, |i, j| w[(i, j)] * along[(j, j)].signum());
    Ok(Factors {
        u: qr.compute_thin_Q() * w,
        s: columns.iter().map(|column| length(column)).collect(),
        v: Mat::from_fn(n, n, |i, j| columns[j][n + i]),
    })
}

/// Turns every pair of columns that is not at right angles; the largest cosine that was met.
fn sweep(columns: &mut [Vec<f64>], tolerance: f64) -> f64 {
    let mut largest: f64 = 0.0;
    for first in 0..columns.len() {
        for second in first + 1..columns.len() {
            let (left, right) = columns.split_at_mut(second);
            let (x, y) = (&mut left[first], &mut right[0]);
            let [a, b] = [&*x, &*y].map(|column| length(column));
            if a.min(b) < NEGLIGIBLE {
                continue;
            }
            let pairs = half(x).iter().zip(half(y));
            let cosine: f64 = pairs.map(|(x, y)| x * a.recip() * (y * b.recip())).sum();
            largest = largest.max(cosine.abs());
            if cosine.abs() > tolerance {
                let zeta = (a / b - b / a) / (2.0 * cosine);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let c = t.hypot(1.0).recip();
                for (x, y) in x.iter_mut().zip(y) {
                    (*x, *y) = (c * (*x + t * *y), c * (*y - t * *x));
                }
            }
        }
    }
    largest
}

/// The part that is a column of the matrix.
fn half(column: &[f64]) -> &[f64] {
    &column[..column.len() / 2]
}

fn length(column: &[f64]) -> f64 {
    ColRef::from_slice(half(column)).norm_l2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algebra::testing::sample,
        spectrum::host::{HostMatrix, values},
    };

    const SWEEPS: usize = 40;

    fn drawn(shape: [usize; 2], seed: u64) -> Mat<f64> {
        HostMatrix::read(&sample(shape, seed)).unwrap().view().to_owned()
    }

    fn is_orthonormal(q: &Mat<f64>) -> bool {
        let n = q.ncols();
        (q.transpose() * q - Mat::<f64>::identity(n, n)).norm_max() < 1e-14
    }

    /// Decomposes, and checks all but the singular values.
    #[track_caller]
    fn decomposed(a: &Mat<f64>) -> Vec<f64> {
        let Factors { u, s, v } = jacobi(a.as_ref(), SWEEPS).unwrap();
        assert!(is_orthonormal(&u) && is_orthonormal(&v));
        assert!(s.is_sorted_by(|a, b| a >= b) && s.iter().all(|s| *s >= 0.0), "{s:?}");
        let scaled = Mat::from_fn(u.nrows(), s.len(), |i, j| u[(i, j)] * s[j]);
        let apart = (scaled * v.transpose() - a).norm_max();
        assert!(apart <= 1e-14 * a.norm_l2(), "{apart:e}");
        s
    }

    #[test]
    fn values_are_those_of_the_bidiagonal_iteration() {
        for shape in [[1, 1], [1, 7], [7, 1], [5, 5], [6, 40], [40, 6], [30, 31], [150, 140]] {
            let a = drawn(shape, 1);
            let (s, expected) = (decomposed(&a), values(a.as_ref()).unwrap());
            let apart = |(a, b): (&f64, &f64)| (a - b).abs();
            let error =
                s.iter().zip(&expected).map(apart).max_by(f64::total_cmp).unwrap_or_default();
            assert!(error < 1e-13 * expected[0], "{shape:?}: {error:e}");
        }
    }

    #[test]
    fn matrices_without_full_rank_have_all_of_their_vectors() {
        assert_eq!(decomposed(&Mat::zeros(4, 3)), [0.0; 3]);
        let s = decomposed(&(drawn([20, 3], 2) * drawn([3, 12], 3)));
        assert!(s[2] > 0.1 && s[3..].iter().all(|x| *x < 1e-14 * s[0]), "{s:?}");
        // Equal singular values, and columns of zeros.
        let s = decomposed(&Mat::from_fn(6, 6, |i, j| if i % 3 == j { 2.0 } else { 0.0 }));
        assert!(
            s[..3].iter().all(|s| (s - 8f64.sqrt()).abs() < 1e-15) && s[3..] == [0.0; 3],
            "{s:?}"
        );
    }

    #[test]
    fn small_values_of_columns_of_unequal_length_have_all_of_their_digits() {
        let entries: [[i32; 4]; 5] =
            [[3, 1, -2, 4], [1, -5, 2, 1], [2, 2, 7, -1], [-4, 1, 1, 2], [1, 3, -1, 6]];
        let lengths = [2, 3, 0, 1].map(|k| 2f64.powi(-20 * k));
        let s = decomposed(&Mat::from_fn(5, 4, |i, j| f64::from(entries[i][j]) * lengths[j]));
        // mpmath with 80 digits; the last one that LAPACK's dgesdd gives is 54 times as large.
        let expected = [
            7.681145747868898,
            6.949511506615715e-6,
            4.857371003681637e-12,
            5.0846367149136564e-18,
        ];
        for (s, expected) in s.iter().zip(expected) {
            assert!((s / expected - 1.0).abs() < 1e-14, "{s:e} is not {expected:e}");
        }
    }

    #[test]
    fn where_sweeps_are_too_few_the_cosine_that_is_left_is_said() {
        let a = Mat::from_fn(2, 2, |i, j| [[1.0, 0.6], [0.0, 0.8]][i][j]);
        let residual = jacobi(a.as_ref(), 1).err().unwrap();
        assert!((residual - 0.6).abs() < 1e-15, "{residual}");
        assert!(jacobi(a.as_ref(), 2).is_ok());
    }
}
