//! The best rotation, block by block: the orthogonal Procrustes problem.

use std::cmp::Ordering;

use burn::tensor::{Tensor, TensorData};
use faer::{Mat, linalg::solvers::Solve};

use super::{SpectrumError, svd};

/// The generators of the rotations of blocks of rows that carry `w` nearest to `goal`.
///
/// $$\min_{R_i \in SO(b)} \sum_i \lVert R_i^\top X_i - Y_i \rVert_F, \qquad
/// R_i = U D V^\top \quad \text{of} \quad X_i Y_i^\top = U \Sigma V^\top, \qquad
/// Q_i = (R_i - I)(R_i + I)^{-1}$$
///
/// ```text
/// w, goal [n·b, m]  ->  Q [n, b, b], so that cayley(Q) = R
/// ```
///
/// $D$ is the identity with the last sign turned where $\det U V^\top$ is -1. A rotation by a half
/// turn has no finite generator: one is given that comes within some 1e-4 of it,
/// as near as [`cayley`](crate::algebra::cayley) computes it.
///
/// Source: P. Schönemann (1966), with the determinant of W. Kabsch (1976).
///
/// # Errors
///
/// Those of [`svd`].
///
/// # Panics
///
/// When the rows are not blocks of `b`.
pub fn procrustes(w: &Tensor<2>, goal: &Tensor<2>, b: usize) -> Result<Tensor<3>, SpectrumError> {
    let [rows, cols] = w.dims();
    assert!(rows.is_multiple_of(b), "{rows} rows are not blocks of {b}");
    let blocks = |x: &Tensor<2>| x.clone().reshape([rows / b, b, cols]);
    let products = blocks(w).matmul(blocks(goal).transpose());
    let mut generators = Vec::with_capacity(rows * b);
    for product in products.iter_dim(0) {
        let svd = svd(&product.squeeze_dim(0))?;
        let q = generator(&rotation(&svd.u, &svd.vt, b));
        generators.extend((0..b).flat_map(|i| (0..b).map(move |j| (i, j))).map(|at| q[at]));
    }
    let data = TensorData::new(generators, [rows / b, b, b]);
    Ok(Tensor::from_data(data, (&w.device(), w.dtype())))
}

/// $U D V^\top$ of determinant 1.
fn rotation(u: &[f64], vt: &[f64], b: usize) -> Mat<f64> {
    let matrix = |entries: &[f64]| Mat::from_fn(b, b, |i, j| entries[i * b + j]);
    let (mut u, vt) = (matrix(u), matrix(vt));
    if (&u * &vt).determinant() < 0.0 {
        (0..b).for_each(|i| u[(i, b - 1)] *= -1.0);
    }
    u * vt
}

/// $(R - I)(R + I)^{-1}$, made skew.
fn generator(r: &Mat<f64>) -> Mat<f64> {
    let b = r.nrows();
    let shifted = |r: &Mat<f64>, by: f64| {
        Mat::from_fn(b, b, |i, j| r[(i, j)] + if i == j { by } else { 0.0 })
    };
    // The factors commute, so that it may stand on the left as well.
    let solve = |r: &Mat<f64>| shifted(r, 1.0).partial_piv_lu().solve(shifted(r, -1.0));
    let mut q = solve(r);
    // Where R has a half turn, R + I is singular: a little further it is not.
    if !(0..b).all(|j| (0..b).all(|i| q[(i, j)].abs() < 1e5)) {
        q = solve(&(r * nudge(b)));
    }
    Mat::from_fn(b, b, |i, j| 0.5 * (q[(i, j)] - q[(j, i)]))
}

/// A rotation by some 1e-5 in no special plane: $I + K$ with $K$ skew, orthogonal up to 1e-10.
fn nudge(b: usize) -> Mat<f64> {
    let k = |i: usize, j: usize| 4e-6 * (2.0 + ((i * b + j) as f64).sin());
    Mat::from_fn(b, b, |i, j| match i.cmp(&j) {
        Ordering::Less => k(i, j),
        Ordering::Equal => 1.0,
        Ordering::Greater => -k(j, i),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::{
        cayley, rotate_rows_transposed, skew,
        testing::{close, sample, values},
    };

    #[test]
    fn a_rotation_is_found_again() {
        for b in [1, 2, 3, 6] {
            let w = sample([12, 20], 1);
            let q = skew(sample([12 / b, b, b], 2));
            let goal = rotate_rows_transposed(cayley(q.clone()), w.clone());
            close(procrustes(&w, &goal, b).unwrap(), q, 1e-10);
        }
    }

    #[test]
    fn no_other_rotation_comes_nearer() {
        let (w, goal) = (sample([8, 6], 3), sample([8, 6], 4));
        let distance = |q: Tensor<3>| {
            let turned = rotate_rows_transposed(cayley(q), w.clone());
            values((turned - goal.clone()).square().sum())[0]
        };
        let q = procrustes(&w, &goal, 4).unwrap();
        let best = distance(q.clone());
        for seed in 0..20 {
            let step = skew(sample([2, 4, 4], seed)).mul_scalar(1e-3);
            assert!(distance(q.clone() + step) >= best);
            assert!(distance(skew(sample([2, 4, 4], seed))) >= best);
        }
    }

    #[test]
    fn a_half_turn_is_all_but_reached() {
        for b in [2, 4] {
            let w = sample([4, 5], 5);
            let q = procrustes(&w, &w.clone().neg(), b).unwrap();
            close(rotate_rows_transposed(cayley(q), w.clone()), w.neg(), 1e-4);
        }
    }
}
