//! Matrices on the host and their decomposition: by bidiagonalisation, as fast as can be, and where that goes wrong
//! by [rotations](super::jacobi).
//!
//! faer's bidiagonalisation takes what is below the least normal number for zero, and squares: every matrix is brought
//! to entries near 1. Its iteration on the bidiagonal may not end, and from 128 columns on it divides and conquers,
//! where equal singular values now and then come out far from right. So the singular values alone are
//! iterated for at any size, which costs little beside the bidiagonalisation, and a decomposition is held
//! against its matrix.

use burn::tensor::Tensor;
use faer::{
    Auto, Mat, MatRef, Scale, Spec,
    diag::{Diag, DiagRef},
    dyn_stack::{MemBuffer, MemStack},
    get_global_parallelism,
    linalg::svd::{ComputeSvdVectors, SvdError, SvdParams, svd, svd_scratch},
};
use rand_distr::{Distribution, StandardNormal};

use super::{
    SpectrumError,
    distance::unit,
    jacobi::{Factors, jacobi},
};
use crate::init::stream;

/// Sweeps of rotations; ten are many, and columns that depend on others take twenty to vanish.
const SWEEPS: usize = 60;

/// How far a decomposition may be from its matrix, and its vectors from right angles: some thousand times the
/// rounding of a large one.
const SOUND: f64 = 1e-11;

/// Random vectors that they are tried on.
const PROBES: usize = 4;

/// A matrix of finite entries, row-major.
pub(super) struct HostMatrix {
    pub rows: usize,
    pub cols: usize,
    entries: Vec<f64>,
}

impl HostMatrix {
    pub fn read(matrix: &Tensor<2>) -> Result<Self, SpectrumError> {
        let [rows, cols] = matrix.dims();
        let entries = matrix.try_to_vec_as::<f64>()?;
        match entries.iter().position(|entry| !entry.is_finite()) {
            None => Ok(Self { rows, cols, entries }),
            Some(at) => {
                let (row, col, value) = (at / cols, at % cols, entries[at]);
                Err(SpectrumError::NonFinite { rows, cols, row, col, value })
            }
        }
    }

    pub fn view(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.entries, self.rows, self.cols)
    }
}

/// The thin decomposition of finite entries.
pub(super) fn factors(a: MatRef<'_, f64>) -> Result<Factors, SpectrumError> {
    let unit = unit(a.norm_max());
    let scaled = a * Scale(unit);
    let a = scaled.as_ref();
    let direct = a.thin_svd().ok().map(|found| {
        let [u, v] = [found.U(), found.V()].map(|side| side.to_owned());
        Factors { u, s: entries(found.S()), v }
    });
    let found = match direct.filter(|found| is_sound(a, found)) {
        Some(found) => found,
        None => rotated(a)?,
    };
    Ok(Factors { s: divided(found.s, unit, a)?, ..found })
}

/// The singular values of finite entries.
pub(super) fn values(a: MatRef<'_, f64>) -> Result<Vec<f64>, SpectrumError> {
    let unit = unit(a.norm_max());
    let scaled = a * Scale(unit);
    let a = scaled.as_ref();
    let found = match iterated(a) {
        Ok(found) => found,
        Err(SvdError::NoConvergence) => rotated(a)?.s,
    };
    divided(found, unit, a)
}

/// Whether $A = U \Sigma V^\top$ and $U^\top U = V^\top V = I$, by what they make of random vectors: a difference in
/// any direction shows, with probability 1, and nothing is multiplied but by a few columns.
///
/// Source: R. Freivalds (1977).
pub(super) fn is_sound(a: MatRef<'_, f64>, Factors { u, s, v }: &Factors) -> bool {
    let mut rng = stream("sound", 0);
    let mut probes =
        |rows| Mat::<f64>::from_fn(rows, PROBES, |_, _| StandardNormal.sample(&mut rng));
    let (x, y) = (probes(a.ncols()), probes(s.len()));
    let along = v.transpose() * &x;
    let scaled = Mat::from_fn(s.len(), PROBES, |i, j| s[i] * along[(i, j)]);
    let apart = (u * scaled - a * &x).norm_l2();
    let askew = |q: &Mat<f64>| (q.transpose() * (q * &y) - &y).norm_l2();
    apart <= SOUND * a.norm_l2() && askew(u) <= SOUND && askew(v) <= SOUND
}

/// The singular values by the iteration alone.
fn iterated(a: MatRef<'_, f64>) -> Result<Vec<f64>, SvdError> {
    let (rows, cols) = a.shape();
    let (none, threads) = (ComputeSvdVectors::No, get_global_parallelism());
    let mut params = Spec::<SvdParams, f64>::new(Auto::<f64>::auto());
    params.recursion_threshold = usize::MAX;
    let size = svd_scratch(rows, cols, none, none, threads, params);
    let (mut memory, mut s) = (MemBuffer::new(size), Diag::zeros(rows.min(cols)));
    svd(a, s.as_mut(), None, None, threads, MemStack::new(&mut memory), params)?;
    Ok(entries(s.as_ref()))
}

fn rotated(a: MatRef<'_, f64>) -> Result<Factors, SpectrumError> {
    let (rows, cols) = a.shape();
    let failed = |residual| SpectrumError::NoConvergence { rows, cols, sweeps: SWEEPS, residual };
    jacobi(a, SWEEPS).map_err(failed)
}

/// Singular values in units of the matrix as it was.
fn divided(s: Vec<f64>, unit: f64, a: MatRef<'_, f64>) -> Result<Vec<f64>, SpectrumError> {
    let s: Vec<f64> = s.into_iter().map(|s| s / unit).collect();
    match s.first() {
        Some(s) if s.is_infinite() => {
            Err(SpectrumError::Range { rows: a.nrows(), cols: a.ncols() })
        }
        _ => Ok(s),
    }
}

fn entries(diagonal: DiagRef<'_, f64>) -> Vec<f64> {
    diagonal.column_vector().iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::{
        cayley, skew,
        testing::{sample, tensor},
    };

    fn read(matrix: &Tensor<2>) -> HostMatrix {
        HostMatrix::read(matrix).unwrap()
    }

    #[test]
    fn no_magnitude_is_too_large_or_too_small() {
        let matrix = sample([9, 6], 1);
        let expected = values(read(&matrix).view()).unwrap();
        // Of numbers below the normal ones, 12 digits are left.
        for (far, rounding) in [(1e300, 1e-14), (1e-160, 1e-14), (1e-300, 1e-14), (1e-312, 1e-9)] {
            let host = read(&matrix.clone().mul_scalar(far));
            for s in [values(host.view()).unwrap(), factors(host.view()).unwrap().s] {
                let error = |(s, expected): (&f64, &f64)| (s / far / expected - 1.0).abs();
                assert!(s.iter().zip(&expected).map(error).all(|e| e < rounding), "{far}: {s:?}");
            }
        }
    }

    #[test]
    fn values_beyond_all_numbers_are_refused() {
        let host = read(&tensor([2, 2], &[1.7e308; 4]));
        for message in [values(host.view()).err(), factors(host.view()).err()] {
            assert_eq!(
                message.unwrap().to_string(),
                "the largest singular value of the 2x2 matrix exceeds the largest f64"
            );
        }
    }

    #[test]
    fn a_decomposition_of_something_else_is_not_sound() {
        let host = read(&sample([8, 5], 2));
        let Factors { u, s, v } = factors(host.view()).unwrap();
        let copy = || Factors { u: u.clone(), s: s.clone(), v: v.clone() };
        assert!(is_sound(host.view(), &copy()));
        let mut wrong = [copy(), copy(), copy()];
        wrong[0].s[1] += 1e-9;
        wrong[1].u[(2, 3)] += 1e-9;
        wrong[2].v.col_mut(0).fill(f64::NAN);
        assert!(wrong.iter().all(|wrong| !is_sound(host.view(), wrong)));
    }

    /// Projections: equal singular values, of which some divisions of faer 0.24 make others.
    #[test]
    fn large_matrices_of_equal_singular_values_are_decomposed() {
        let n = 157;
        let turn = |seed| cayley(skew(sample([1, n, n], seed))).squeeze_dim::<2>(0);
        for seed in 0..6 {
            let rank = 20 * (seed as usize + 1);
            let projection =
                turn(seed).slice([0..n, 0..rank]).matmul(turn(seed + 10).slice([0..rank, 0..n]));
            let host = read(&projection);
            let found = factors(host.view()).unwrap();
            assert!(is_sound(host.view(), &found));
            for s in [found.s, values(host.view()).unwrap()] {
                let error = |(at, s): (usize, &f64)| (s - f64::from(at < rank)).abs();
                assert!(s.iter().enumerate().map(error).all(|e| e < 1e-12), "{s:?}");
            }
        }
    }
}
