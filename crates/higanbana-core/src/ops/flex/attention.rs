//! Attention: the scores of a block of queries at a time, in one head.

use burn::backend::{Flex, TensorMetadata};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use super::{
    Flexible,
    math::{exp, largest, sum, wide},
    numbers, tensor,
};
use crate::ops::diffusion::composed::merge;

/// Queries at a time.
const BLOCK: usize = 128;

/// The sizes of `q` `[batch, n, width]` and of `k` and `v` `[batch, m, width]`.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    n: usize,
    m: usize,
    width: usize,
    /// Width of a head.
    d: usize,
    causal: bool,
}

impl Sizes {
    fn new([q, k, _]: &[Flexible; 3], heads: usize, causal: bool) -> Self {
        let ([batch, n, width], [_, m, _]) = (q.shape().dims(), k.shape().dims());
        Self { batch, n, m, width, d: width / heads, causal }
    }

    fn scale(&self) -> f32 {
        (self.d as f64).powf(-0.5) as f32
    }

    /// `rows` positions of a head, from `first` on, of a tensor with `length` positions.
    fn head<'a>(
        &self,
        x: &'a [f32],
        length: usize,
        [sample, head]: [usize; 2],
        first: usize,
        rows: usize,
    ) -> MatRef<'a, f32> {
        let start = (sample * length + first) * self.width + head * self.d;
        let end = start + (rows - 1) * self.width + self.d;
        MatRef::from_row_major_slice_with_stride(&x[start..end], rows, self.d, self.width)
    }

    /// $e^{S - \max S}$ in place of a block of scores, whose first query is `first`, and the
    /// reciprocals of the sums of its rows.
    fn exponentials(&self, scores: &mut [f32], first: usize, inverse: &mut [f32]) {
        wide(|| {
            for (i, (row, inverse)) in scores.chunks_exact_mut(self.m).zip(inverse).enumerate() {
                let seen = if self.causal { first + i + 1 } else { self.m };
                let (row, hidden) = row.split_at_mut(seen);
                let top = largest(row);
                row.iter_mut().for_each(|s| *s = exp(*s - top));
                hidden.fill(0.0);
                *inverse = (1.0 / sum(row, row, |s, _| s)) as f32;
            }
        })
    }
}

fn matrix(x: &[f32], rows: usize) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(x, rows, x.len() / rows)
}

fn matrix_mut(x: &mut [f32], rows: usize) -> MatMut<'_, f32> {
    let columns = x.len() / rows;
    MatMut::from_row_major_slice_mut(x, rows, columns)
}

pub fn forward(qkv: [Flexible; 3], heads: usize, causal: bool) -> Flexible {
    let qkv = qkv.map(|x| x.to_contiguous());
    let sizes = Sizes::new(&qkv, heads, causal);
    let [q, k, v] = qkv.each_ref().map(numbers);
    let Sizes { batch, n, m, width, d, .. } = sizes;
    let mut y = vec![0.0; batch * n * width];
    y.par_chunks_mut(n * width).enumerate().for_each(|(sample, y)| {
        let blocks = y.par_chunks_mut(BLOCK * width).enumerate();
        blocks.for_each_init(
            || vec![0.0; BLOCK.min(n) * m],
            |scores, (block, y)| {
                let (first, rows) = (block * BLOCK, y.len() / width);
                let scores = &mut scores[..rows * m];
                let mut inverse = [0.0; BLOCK];
                for head in 0..heads {
                    let at = [sample, head];
                    let q = sizes.head(q, n, at, first, rows);
                    let k = sizes.head(k, m, at, 0, m).transpose();
                    let v = sizes.head(v, m, at, 0, m);
                    let target = matrix_mut(scores, rows);
                    matmul(target, Accum::Replace, q, k, sizes.scale(), Par::Seq);
                    sizes.exponentials(scores, first, &mut inverse[..rows]);
                    let y = &mut y[head * d..];
                    let target = MatMut::from_row_major_slice_with_stride_mut(y, rows, d, width);
                    matmul(target, Accum::Replace, matrix(scores, rows), v, 1.0, Par::Seq);
                    for (y, inverse) in y.chunks_mut(width).zip(inverse) {
                        y[..d].iter_mut().for_each(|y| *y *= inverse);
                    }
                }
            },
        );
    });
    tensor(y, [batch, n, width])
}

/// The formulas of the composed backward pass.
pub fn backward(
    qkv: [Flexible; 3],
    gradient: Flexible,
    heads: usize,
    causal: bool,
) -> (Flexible, Flexible, Flexible) {
    let qkv = qkv.map(|x| x.to_contiguous());
    let gradient = gradient.to_contiguous();
    let sizes = Sizes::new(&qkv, heads, causal);
    let ([q, k, v], gradient) = (qkv.each_ref().map(numbers), numbers(&gradient));
    let Sizes { batch, n, m, d, .. } = sizes;
    let scale = sizes.scale();
    let empty = |positions| vec![0.0; batch * heads * positions * d];
    let (mut of_q, mut of_k, mut of_v) = (empty(n), empty(m), empty(m));
    let each = of_q
        .par_chunks_mut(n * d)
        .zip(of_k.par_chunks_mut(m * d))
        .zip(of_v.par_chunks_mut(m * d))
        .enumerate();
    each.for_each(|(index, ((of_q, of_k), of_v))| {
        let at = [index / heads, index % heads];
        let (k, v) = (sizes.head(k, m, at, 0, m), sizes.head(v, m, at, 0, m));
        let [mut p, mut of_p] = [(); 2].map(|_| vec![0.0; BLOCK.min(n) * m]);
        let mut inverse = [0.0; BLOCK];
        for (block, of_q) in of_q.chunks_mut(BLOCK * d).enumerate() {
            let (first, rows) = (block * BLOCK, of_q.len() / d);
            let (p, of_p) = (&mut p[..rows * m], &mut of_p[..rows * m]);
            let q = sizes.head(q, n, at, first, rows);
            let gradient = sizes.head(gradient, n, at, first, rows);
            matmul(matrix_mut(p, rows), Accum::Replace, q, k.transpose(), scale, Par::Seq);
            sizes.exponentials(p, first, &mut inverse[..rows]);
            let target = matrix_mut(of_p, rows);
            matmul(target, Accum::Replace, gradient, v.transpose(), 1.0, Par::Seq);
            wide(|| {
                let rows = p.chunks_exact_mut(m).zip(of_p.chunks_exact_mut(m));
                for ((p, of_p), inverse) in rows.zip(inverse) {
                    p.iter_mut().for_each(|p| *p *= inverse);
                    let delta = sum(p, of_p, |p, of_p| p * of_p) as f32;
                    for (of_p, p) in of_p.iter_mut().zip(p) {
                        *of_p = *p * (*of_p - delta);
                    }
                }
            });
            let (p, of_scores) = (matrix(p, rows), matrix(of_p, rows));
            let (of_k, of_v) = (matrix_mut(of_k, m), matrix_mut(of_v, m));
            matmul(matrix_mut(of_q, rows), Accum::Replace, of_scores, k, scale, Par::Seq);
            matmul(of_k, Accum::Add, of_scores.transpose(), q, scale, Par::Seq);
            matmul(of_v, Accum::Add, p.transpose(), gradient, 1.0, Par::Seq);
        }
    });
    let joined = |x, positions| merge::<Flex>(tensor(x, [batch, heads, positions, d]));
    (joined(of_q, n), joined(of_k, m), joined(of_v, m))
}
