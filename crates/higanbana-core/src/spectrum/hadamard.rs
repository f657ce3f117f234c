//! Approximation by a Hadamard product of two thin products.

mod quadrics;

use std::{num::NonZero, thread};

use burn::tensor::{DType, Device, Tensor, TensorData};
use faer::{Col, Mat, MatRef, Scale, Side, linalg::solvers::Solve};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};

use super::{SpectrumError, Svd, svd, truncated, truncation_error};

/// Relative improvement of the error below which a sweep is the last one.
const STOP: f64 = 1e-4;
/// Sweeps at most, and those after which only the best start is gone on with.
const SWEEPS: usize = 100;
const TRIAL: usize = 10;
/// Share of the norm beyond the rank $r^2$ above which a matrix is no such product with noise.
const NOISE: f64 = 0.1;
/// Share of the mean diagonal that is added to it, so that factors of deficient rank have a solution.
const RIDGE: f64 = 1e-12;

/// A Hadamard product of two thin products and its distance from the matrix that it stands for.
#[derive(Debug, Clone)]
pub struct HadamardApproximation {
    /// `w1_a [m, r]`, `w1_b [r, n]`, `w2_a [m, r]`, `w2_b [r, n]`, all of equal norm.
    pub factors: [Tensor<2>; 4],
    /// The Frobenius norm of what they leave.
    pub error: f64,
}

/// A Hadamard product of two products of inner dimension `rank` that is close to `w`.
///
/// $$\min \lVert W - (A_1 B_1) \odot (A_2 B_2) \rVert_F$$
///
/// The problem has many local minima and no known solution in closed form. Each of the four factors
/// is a linear least-squares problem when the others are held, with a small system of its own for
/// every row or column; solving them in turn never raises the error. It starts from the truncated
/// decomposition of `w` times a matrix of ones, twice with different directions left open, and from
/// those of $\sqrt{|W|}$ with and without the signs; the one that is ahead after a few sweeps is
/// gone on with, until a sweep takes less than a share of 1e-4 from the error, for 100 sweeps at most.
/// Guaranteed is therefore:
///
/// * the error is at most that of the best matrix of this rank, [`truncation_error`], so that a
///   matrix of this rank is met exactly;
/// * the result is the same in every run.
///
/// On matrices without structure the error is near that of the best matrix of *twice* the rank,
/// which has as many parameters. A matrix that is itself such a product, of factors in general position,
/// is met where the larger of its sides is at least $R(R+1)/2 - \binom r2^2$, $R = r^2 \le 25$: 9, 36, 100 and 225
/// for $r$ from 2 to 5, and all layers of Stable Diffusion at $r = 4$. At a larger rank, or on a smaller matrix, a local
/// minimum may come first.
///
/// The factors have the type and device of `w`.
///
/// [`truncation_error`]: super::truncation_error
///
/// # Errors
///
/// If `rank` is 0 or exceeds `min(m, n)`, and those of [`svd`].
pub fn fit_hadamard(w: &Tensor<2>, rank: usize) -> Result<HadamardApproximation, SpectrumError> {
    let svd = svd(w)?;
    let best = truncated(&svd, rank)?;
    let starts = [times_ones(&best, 0), times_ones(&best, 1), square_roots(w, rank)?];
    let target = Target::new(w)?;
    let fit = starts
        .into_iter()
        .chain(product(&svd, &target, rank))
        .map(|start| Fit::new(&target, start).sweeps(TRIAL))
        .min_by(|a, b| a.error.total_cmp(&b.error))
        .expect("there are starts")
        .sweeps(SWEEPS - TRIAL);
    Ok(HadamardApproximation {
        factors: fit.factors.each_ref().map(|factor| to_tensor(factor, &w.device(), w.dtype())),
        error: fit.error,
    })
}

/// The factors `a1`, `b1`, `a2`, `b2`.
type Factors = [Mat<f64>; 4];

/// The best matrix of the rank, times ones. The rows of `b2` below that of ones meet zeros: random
/// directions that the sweeps can take up.
fn times_ones(best: &Svd, seed: u64) -> Factors {
    let mut rng = StdRng::seed_from_u64(seed);
    let [a1, b1] = halves(best);
    let a2 = Mat::from_fn(a1.nrows(), a1.ncols(), |_, q| if q == 0 { 1.0 } else { 0.0 });
    let b2 = Mat::from_fn(b1.nrows(), b1.ncols(), |q, _| {
        if q == 0 { 1.0 } else { StandardNormal.sample(&mut rng) }
    });
    [a1, b1, a2, b2]
}

/// The best matrices of the rank for the roots of the entries, the first with their signs.
fn square_roots(w: &Tensor<2>, rank: usize) -> Result<Factors, SpectrumError> {
    let root = w.clone().abs().sqrt();
    let [a1, b1] = halves(&truncated(&svd(&(root.clone() * w.clone().sign()))?, rank)?);
    let [a2, b2] = halves(&truncated(&svd(&root)?, rank)?);
    Ok([a1, b1, a2, b2])
}

/// The factors of a matrix that is such a product with noise, from the side that has more rows.
fn product(svd: &Svd, target: &Target, rank: usize) -> Option<Factors> {
    let (products, k) = (rank * rank, svd.s.len());
    let beyond = truncation_error(&svd.s, products);
    if products > k || beyond > NOISE * truncation_error(&svd.s, 0) {
        return None;
    }
    let (tall, rows, cols) = match svd.rows >= svd.cols {
        true => (true, svd.rows, svd.cols),
        false => (false, svd.cols, svd.rows),
    };
    if !quadrics::are_told(rows, cols, rank) {
        return None;
    }
    let vector =
        |i: usize, q: usize| if tall { svd.u[i * k + q] } else { svd.vt[q * svd.cols + i] };
    let vectors = Mat::from_fn(rows, products, vector);
    let entries = if tall { target.cols.as_ref() } else { target.rows.as_ref() };
    // A decomposition that fails is a start that there is not.
    let [a1, b1, a2, b2] = quadrics::solve(&vectors, entries, rank).ok()?;
    let turned = |x: Mat<f64>| x.transpose().to_owned();
    Some(match tall {
        true => [a1, b1, a2, b2],
        false => [turned(b1), turned(a1), turned(b2), turned(a2)],
    })
}

/// $U \Sigma^{1/2}$ and $\Sigma^{1/2} V^\top$.
fn halves(svd: &Svd) -> [Mat<f64>; 2] {
    let k = svd.s.len();
    let root: Vec<f64> = svd.s.iter().map(|s| s.sqrt()).collect();
    [
        Mat::from_fn(svd.rows, k, |i, q| svd.u[i * k + q] * root[q]),
        Mat::from_fn(k, svd.cols, |q, j| svd.vt[q * svd.cols + j] * root[q]),
    ]
}

/// The matrix to be met, with its rows and with its columns in one piece.
struct Target {
    rows: Mat<f64>,
    cols: Mat<f64>,
}

impl Target {
    fn new(w: &Tensor<2>) -> Result<Self, SpectrumError> {
        let [m, n] = w.dims();
        let entries = w.try_to_vec_as::<f64>()?;
        let rows = MatRef::from_column_major_slice(&entries, n, m).to_owned();
        Ok(Self { cols: rows.transpose().to_owned(), rows })
    }
}

/// Factors and how far they are from their target.
struct Fit<'a> {
    target: &'a Target,
    factors: Factors,
    error: f64,
}

impl<'a> Fit<'a> {
    fn new(target: &'a Target, factors: Factors) -> Self {
        let [a1, b1, a2, b2] = &factors;
        let (p1, p2) = (a1 * b1, a2 * b2);
        let left = Mat::from_fn(p1.nrows(), p1.ncols(), |i, j| {
            target.cols[(i, j)] - p1[(i, j)] * p2[(i, j)]
        });
        Self { target, error: left.norm_l2(), factors }
    }

    /// Up to `count` sweeps; ends where they no longer help.
    fn sweeps(mut self, count: usize) -> Self {
        for _ in 0..count {
            let next = Self::new(self.target, balanced(self.sweep()));
            let helps = next.error < self.error * (1.0 - STOP);
            // An error that is not a number ends it as well.
            if next.error < self.error {
                self = next;
            }
            if !helps {
                break;
            }
        }
        self
    }

    /// The four least-squares problems in turn.
    fn sweep(&self) -> Factors {
        let Target { rows, cols } = self.target;
        let [_, b1, a2, b2] = &self.factors;
        let a1 = solve(rows, b1, &(b2.transpose() * a2.transpose())).transpose().to_owned();
        let b1 = solve(cols, &a1.transpose().to_owned(), &(a2 * b2));
        let a2 = solve(rows, b2, &(b1.transpose() * a1.transpose())).transpose().to_owned();
        let b2 = solve(cols, &a2.transpose().to_owned(), &(&a1 * &b1));
        [a1, b1, a2, b2]
    }
}

/// The `a [r, m]` that minimises $\lVert T - (B^\top A) \odot P \rVert_F$, column by column: the
/// least-squares solution for the matrix $B \operatorname{diag}(p_i)$.
///
/// ```text
/// target, p [n, m]  b [r, n]
/// ```
fn solve(target: &Mat<f64>, b: &Mat<f64>, p: &Mat<f64>) -> Mat<f64> {
    let (m, n, r) = (target.ncols(), target.nrows(), b.nrows());
    let column = |i: usize| {
        let (target, p) = (target.col(i), p.col(i));
        let x = Mat::from_fn(r, n, |q, j| b[(q, j)] * p[j]);
        let mut normal = &x * x.transpose();
        let diagonal = normal.diagonal().column_vector().iter().sum::<f64>() / r as f64;
        for q in 0..r {
            normal[(q, q)] += (RIDGE * diagonal).max(f64::MIN_POSITIVE);
        }
        let right = &x * target;
        match normal.llt(Side::Lower) {
            Ok(factor) => factor.solve(right),
            // Entries beyond the range of numbers: the error will say so.
            Err(_) => right * Scale(f64::NAN),
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let share = m.div_ceil(workers);
    let mut solutions = vec![Col::zeros(r); m];
    thread::scope(|scope| {
        for (worker, chunk) in solutions.chunks_mut(share).enumerate() {
            let column = &column;
            scope.spawn(move || {
                for (i, solution) in chunk.iter_mut().enumerate() {
                    *solution = column(worker * share + i);
                }
            });
        }
    });
    Mat::from_fn(r, m, |q, i| solutions[i][q])
}

/// The same product from factors of equal norm.
fn balanced(factors: Factors) -> Factors {
    let norms = factors.each_ref().map(|factor| factor.norm_l2());
    let mean = norms.iter().product::<f64>().powf(0.25);
    if mean == 0.0 || !mean.is_finite() {
        return factors;
    }
    let [a1, b1, a2, b2] = factors;
    let [n1, m1, n2, m2] = norms.map(|norm| Scale(mean / norm));
    [a1 * n1, b1 * m1, a2 * n2, b2 * m2]
}

fn to_tensor(matrix: &Mat<f64>, device: &Device, dtype: DType) -> Tensor<2> {
    let (rows, cols) = (matrix.nrows(), matrix.ncols());
    let entries: Vec<f64> =
        (0..rows).flat_map(|i| (0..cols).map(move |j| matrix[(i, j)])).collect();
    Tensor::from_data(TensorData::new(entries, [rows, cols]), (device, dtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algebra::testing::{close, sample, tensor, values},
        spectrum::singular_values,
    };

    fn product([a1, b1, a2, b2]: [Tensor<2>; 4]) -> Tensor<2> {
        a1.matmul(b1) * a2.matmul(b2)
    }

    fn distance(a: Tensor<2>, b: Tensor<2>) -> f64 {
        values((a - b).square().sum())[0].sqrt()
    }

    #[test]
    fn a_column_is_the_least_squares_solution_of_its_own_system() {
        // (4, 9) from (1, 2) ⊙ (2, 3) = (2, 6): (2·4 + 6·9) / (2² + 6²).
        let of = |entries: &[f64], rows, cols| {
            MatRef::from_column_major_slice(entries, rows, cols).to_owned()
        };
        let (target, b) = (of(&[4.0, 9.0], 2, 1), of(&[1.0, 2.0], 1, 2));
        let a = solve(&target, &b, &of(&[2.0, 3.0], 2, 1));
        assert!((a[(0, 0)] - 62.0 / 40.0).abs() < 1e-11);
    }

    #[test]
    fn never_worse_than_the_best_matrix_of_the_rank_and_as_far_as_it_says() {
        let w = sample([20, 33], 1);
        let s = singular_values(&w).unwrap();
        for rank in [1, 2, 5, 20] {
            let fit = fit_hadamard(&w, rank).unwrap();
            assert!(fit.error <= truncation_error(&s, rank) + 1e-9, "rank {rank}");
            assert!((distance(product(fit.factors), w.clone()) - fit.error).abs() < 1e-12);
        }
        // At rank 5 it is as good as the best matrix of rank 10.
        assert!(fit_hadamard(&w, 5).unwrap().error < 1.02 * truncation_error(&s, 10));
    }

    #[test]
    fn hadamard_products_are_met() {
        for (rank, seed) in [(1, 2), (2, 2)] {
            let of = |shape, k: u64| sample(shape, 10 * seed + k);
            let w = product([
                of([24, rank], 1),
                of([rank, 20], 2),
                of([24, rank], 3),
                of([rank, 20], 4),
            ]);
            let fit = fit_hadamard(&w, rank).unwrap();
            assert!(
                fit.error < 1e-3 * values(w.square().sum())[0].sqrt(),
                "rank {rank}: {}",
                fit.error
            );
        }
    }

    /// Such a product of a rank that users have, at sizes of Stable Diffusion's layers, is found: wide and tall, and
    /// through the rounding of half precision.
    #[test]
    fn hadamard_products_of_layers_are_recovered() {
        for (m, n, rank, noise) in [
            (320, 320, 4, 0.0),
            (320, 768, 4, 5e-4),
            (640, 320, 4, 5e-4),
            (36, 30, 3, 0.0),
            (12, 9, 2, 1e-3),
        ] {
            let of = |shape, k: u64| sample(shape, 40 + k);
            let exact =
                product([of([m, rank], 1), of([rank, n], 2), of([m, rank], 3), of([rank, n], 4)]);
            let norm = |x: Tensor<2>| values(x.square().sum())[0].sqrt();
            let size = norm(exact.clone()) / ((m * n) as f64).sqrt();
            let w = exact + sample([m, n], 5).mul_scalar(noise * size);
            let left = fit_hadamard(&w, rank).unwrap().error / norm(w);
            assert!(left <= 1.01 * noise + 1e-9, "{m}×{n}, rank {rank}: {left:e}");
        }
    }

    #[test]
    fn the_result_is_repeatable_and_its_factors_have_equal_norms() {
        let w = sample([9, 7], 3);
        let [first, second] = [0; 2].map(|_| fit_hadamard(&w, 2).unwrap().factors);
        let norms = first.clone().map(|factor| values(factor.square().sum())[0].sqrt());
        assert!(norms.iter().all(|norm| (norm / norms[0] - 1.0).abs() < 1e-12));
        for (a, b) in first.into_iter().zip(second) {
            close(a, b, 0.0);
        }
    }

    #[test]
    fn the_zero_matrix_and_ranks_out_of_range() {
        let zero = tensor([2, 3], &[0.0; 6]);
        let fit = fit_hadamard(&zero, 1).unwrap();
        close(product(fit.factors), zero.clone(), 0.0);
        assert!(fit_hadamard(&zero, 0).is_err());
        assert!(fit_hadamard(&zero, 3).is_err());
    }
}
