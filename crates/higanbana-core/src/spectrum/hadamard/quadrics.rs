//! The factors of a matrix that is a Hadamard product of two thin products, in closed form.
//!
//! Row $i$ of $W = (A_1 B_1) \odot (A_2 B_2)$ is $(a_i \otimes b_i)^\top C$, where $a_i$ and $b_i$ are rows of $A_1$ and
//! $A_2$, and column $j$ of $C$ is the Kronecker product of columns $j$ of $B_1$ and $B_2$. Where $W$ has the rank
//! $R = r^2$, the rows $x_i \in \mathbb R^R$ of its left singular vectors are therefore images of $a_i \otimes b_i$ under one
//! unknown map $M$: they lie on an image of Segre's variety, the $r \times r$ matrices of rank one, on which
//! $k = \binom r2^2$ quadrics vanish, the minors. Found are, in turn:
//!
//! 1. the quadrics: the $k$ symmetric $Q$ nearest to $x_i^\top Q x_i = 0$ for all rows. There are no others where there are at
//!    least $R(R+1)/2 - k$ rows;
//! 2. pairs of lines: all $x_0^\top Q y = x_i^\top Q y = 0$ where the tangent spaces of two points meet, the plane of
//!    $a_0 \otimes b_i$ and $a_i \otimes b_0$. On it all quadrics are multiples of one form, whose zeros these two are;
//! 3. coordinates: the $a_0 \otimes b_i$ span $r$ dimensions, in which their coordinates are those of $b_i$, up to a factor
//!    for each row and a basis for all; likewise $a_i$;
//! 4. the map and the factors of the rows: the $M$ of norm 1 that is nearest to $x_i \parallel M (a_i \otimes b_i)$ for all rows;
//! 5. $C$ by least squares, and of each of its columns, as an $r \times r$ matrix, the nearest of rank one.
//!
//! Every step is a singular value decomposition of at most $R^2$ columns. Of a product with noise the factors are near, and a
//! start for the sweeps.

use faer::{Col, ColRef, Mat, MatRef};

use super::{
    super::{SpectrumError, host::factors},
    Factors,
};

/// Rank $r$ above which the decompositions cost more than they are worth.
const LARGEST: usize = 5;

/// Whether a matrix has rows enough for its quadrics, and the rank is one of those that are tried.
pub(super) fn are_told(rows: usize, cols: usize, rank: usize) -> bool {
    let products = rank * rank;
    (2..=LARGEST).contains(&rank)
        && products <= cols
        && rows >= products * (products + 1) / 2 - count(rank)
}

/// $\binom r2^2$.
fn count(rank: usize) -> usize {
    (rank * (rank - 1) / 2).pow(2)
}

/// The factors of the matrix whose left singular vectors, `[m, r²]`, and whose entries, `[m, n]`, these are.
pub(super) fn solve(
    left: &Mat<f64>,
    w: MatRef<'_, f64>,
    rank: usize,
) -> Result<Factors, SpectrumError> {
    let length = |i: usize| left.row(i).norm_l2().max(f64::MIN_POSITIVE);
    let x = Mat::from_fn(left.nrows(), left.ncols(), |i, k| left[(i, k)] / length(i));
    let quadrics = Quadrics::through(&x, rank)?;
    let (a, b) = quadrics.coordinates(&x, rank)?;
    let products =
        Mat::from_fn(x.nrows(), x.ncols(), |i, pq| a[(i, pq / rank)] * b[(i, pq % rank)]);
    let images = &products * map(&x, &products)?.transpose();
    let scale = |i: usize| {
        let along = images.row(i) * x.row(i).transpose();
        length(i) * along / images.row(i).squared_norm_l2().max(f64::MIN_POSITIVE)
    };
    let a = Mat::from_fn(a.nrows(), rank, |i, p| scale(i) * a[(i, p)]);
    let products =
        Mat::from_fn(x.nrows(), x.ncols(), |i, pq| a[(i, pq / rank)] * b[(i, pq % rank)]);
    let columns = least_squares(&products, w)?;
    let (mut b1, mut b2) = (Mat::zeros(rank, w.ncols()), Mat::zeros(rank, w.ncols()));
    for j in 0..w.ncols() {
        let column = Mat::from_fn(rank, rank, |p, q| columns[(p * rank + q, j)]);
        let found = factors(column.as_ref())?;
        for p in 0..rank {
            (b1[(p, j)], b2[(p, j)]) = (found.s[0] * found.u[(p, 0)], found.v[(p, 0)]);
        }
    }
    Ok([a, b1, b, b2])
}

/// Symmetric matrices.
struct Quadrics(Vec<Mat<f64>>);

impl Quadrics {
    /// Those that vanish on the rows.
    fn through(x: &Mat<f64>, rank: usize) -> Result<Self, SpectrumError> {
        let n = x.ncols();
        let pairs: Vec<(usize, usize)> = (0..n).flat_map(|k| (k..n).map(move |l| (k, l))).collect();
        // So that the norm of the coefficients is that of the matrix.
        let weight = |(k, l): (usize, usize)| if k == l { 1.0 } else { 2f64.sqrt() };
        let monomials = Mat::from_fn(x.nrows(), pairs.len(), |i, c| {
            let (k, l) = pairs[c];
            weight(pairs[c]) * x[(i, k)] * x[(i, l)]
        });
        let found = kernel(monomials.as_ref(), count(rank))?;
        let symmetric = |c: usize| {
            let mut quadric = Mat::zeros(n, n);
            for (at, &(k, l)) in pairs.iter().enumerate() {
                let entry = found[(at, c)] / weight((k, l));
                (quadric[(k, l)], quadric[(l, k)]) = (entry, entry);
            }
            quadric
        };
        Ok(Self((0..found.ncols()).map(symmetric).collect()))
    }

    /// $Q y$, a row for each quadric.
    fn polar(&self, y: ColRef<'_, f64>) -> Mat<f64> {
        let rows: Vec<Col<f64>> = self.0.iter().map(|quadric| quadric * y).collect();
        Mat::from_fn(rows.len(), y.nrows(), |c, k| rows[c][k])
    }

    /// $a_i$ and $b_i$ of every row, each in a basis of its own and up to a factor.
    fn coordinates(
        &self,
        x: &Mat<f64>,
        rank: usize,
    ) -> Result<(Mat<f64>, Mat<f64>), SpectrumError> {
        let row = |i: usize| x.row(i).transpose().to_owned();
        let tangent = kernel(self.polar(row(0).as_ref()).as_ref(), 2 * rank - 1)?;
        let polar = |y: &Col<f64>, z: &Col<f64>| (self.polar(y.as_ref()) * z).norm_l2();
        let (mut first, mut second) = (vec![row(0)], vec![row(0)]);
        for i in 1..x.nrows() {
            let meets = self.polar(row(i).as_ref()) * &tangent;
            let plane = &tangent * kernel(meets.as_ref(), 2)?;
            let [y, z] = self.zeros(&plane)?;
            // The sum of two of one family is a point of the variety too: their polar forms vanish.
            let swapped = first
                .get(1)
                .zip(second.get(1))
                .is_some_and(|(f, s)| polar(&z, f) + polar(&y, s) < polar(&y, f) + polar(&z, s));
            let (y, z) = if swapped { (z, y) } else { (y, z) };
            first.push(y);
            second.push(z);
        }
        // x₀ itself is in both families.
        let within = |family: Vec<Col<f64>>| -> Result<Mat<f64>, SpectrumError> {
            let family = Mat::from_fn(family.len(), x.ncols(), |i, k| family[i][k]);
            let span = factors(family.as_ref())?.v;
            Ok(&family * span.subcols(0, rank))
        };
        Ok((within(second)?, within(first)?))
    }

    /// The two points of a plane, given by its basis, on which all quadrics vanish, at length 1.
    fn zeros(&self, plane: &Mat<f64>) -> Result<[Col<f64>; 2], SpectrumError> {
        let (p, q) = (plane.col(0), plane.col(1));
        let (at_p, at_q) = (self.polar(p), self.polar(q));
        let (pp, pq, qq) = (&at_p * p, &at_p * q, &at_q * q);
        let forms = Mat::from_fn(self.0.len(), 3, |c, of| [pp[c], 2.0 * pq[c], qq[c]][of]);
        let form = factors(forms.as_ref())?.v;
        let [a, b, c] = [0, 1, 2].map(|of| form[(of, 0)]);
        // a s² + b s t + c t² = 0, without cancellation; where noise leaves no zero, where it is least.
        let root = -0.5 * (b + (b * b - 4.0 * a * c).max(0.0).sqrt().copysign(b));
        Ok([(root, a), (c, root)].map(|(s, t)| {
            let point = Col::from_fn(plane.nrows(), |k| s * p[k] + t * q[k]);
            let length = point.norm_l2().max(f64::MIN_POSITIVE);
            Col::from_fn(point.nrows(), |k| point[k] / length)
        }))
    }
}

/// The $M$ of norm 1 of the least $\sum_i \lVert (I - x_i x_i^\top) M v_i \rVert^2$, for rows $x_i$ of length 1.
fn map(x: &Mat<f64>, v: &Mat<f64>) -> Result<Mat<f64>, SpectrumError> {
    let n = x.ncols();
    // Of row i: the squares of v, less those of x ⊗ v.
    let tensors = Mat::from_fn(x.nrows(), n * n, |i, kl| x[(i, kl / n)] * v[(i, kl % n)]);
    let (gram, squares) = (v.transpose() * v, tensors.transpose() * &tensors);
    let form = Mat::from_fn(n * n, n * n, |kl, st| {
        let whole = if kl / n == st / n { gram[(kl % n, st % n)] } else { 0.0 };
        whole - squares[(kl, st)]
    });
    let found = kernel(form.as_ref(), 1)?;
    Ok(Mat::from_fn(n, n, |k, l| found[(k * n + l, 0)]))
}

/// Orthonormal columns that a matrix takes nearest to zero, so many of them.
fn kernel(a: MatRef<'_, f64>, count: usize) -> Result<Mat<f64>, SpectrumError> {
    let n = a.ncols();
    // Rows of zeros where there are too few: the thin decomposition of a wide matrix has no kernel.
    let tall =
        Mat::from_fn(a.nrows().max(n), n, |i, j| if i < a.nrows() { a[(i, j)] } else { 0.0 });
    Ok(factors(tall.as_ref())?.v.subcols(n - count, count).to_owned())
}

/// The least-squares solution of $A X = W$.
fn least_squares(a: &Mat<f64>, w: MatRef<'_, f64>) -> Result<Mat<f64>, SpectrumError> {
    let found = factors(a.as_ref())?;
    let along = found.u.transpose() * w;
    let scaled = Mat::from_fn(along.nrows(), along.ncols(), |k, j| {
        if found.s[k] > f64::EPSILON * found.s[0] { along[(k, j)] / found.s[k] } else { 0.0 }
    });
    Ok(found.v * scaled)
}
