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
mod tests;
