//! Attention: the scores of a block of queries at a time, in one head.

use burn::{
    backend::{Flex, TensorMetadata, ops::FloatTensorOps},
    tensor::Shape,
};
use rayon::prelude::*;

use super::{
    Flexible,
    math::{exp, largest, sum, wide},
    numbers, tensor,
};
use crate::ops::diffusion::composed::merge;

/// Multiplications from which on flex spreads a product over the threads, which are busy here.
const SPREAD: usize = 192 * 192 * 192;

/// One of the inputs as `[batch, heads, positions, d]`: a view.
fn split(x: Flexible, heads: usize) -> Flexible {
    let [batch, positions, width] = x.shape().dims();
    let x = x.to_contiguous().reshape(Shape::new([batch, positions, heads, width / heads]));
    x.transpose(1, 2)
}

/// The positions `first..first + count` of a head, a view as well.
fn rows(x: &Flexible, [sample, head]: [usize; 2], first: usize, count: usize) -> Flexible {
    x.narrow(0, sample, 1).narrow(1, head, 1).narrow(2, first, count)
}

/// What the passes share.
struct Scores {
    q: Flexible,
    k: Flexible,
    v: Flexible,
    /// Samples, queries and keys, and the width of a head.
    batch: usize,
    n: usize,
    m: usize,
    d: usize,
    causal: bool,
    /// Queries at a time.
    block: usize,
}

impl Scores {
    fn new(qkv: [Flexible; 3], heads: usize, causal: bool) -> Self {
        let [q, k, v] = qkv.map(|x| split(x, heads));
        let ([batch, _, n, d], [_, _, m, _]) = (q.shape().dims(), k.shape().dims());
        let block = ((SPREAD - 1) / (m * d)).clamp(16, 128).min(n);
        Self { q, k, v, batch, n, m, d, causal, block }
    }

    fn scale(&self) -> f32 {
        (self.d as f64).powf(-0.5) as f32
    }

    /// $e^{s (S - \max S)}$ of `count` queries, and the reciprocals of the sums of its rows.
    fn exponentials(&self, at: [usize; 2], first: usize, count: usize) -> (Flexible, Vec<f32>) {
        let (q, k) = (rows(&self.q, at, first, count), rows(&self.k, at, 0, self.m));
        let mut scores = Flex::float_matmul(q, k.transpose(2, 3));
        let mut inverse = vec![0.0; count];
        let (numbers, scale) = (scores.storage_mut::<f32>(), self.scale());
        wide!(|| {
            let lines = numbers.chunks_exact_mut(self.m).zip(&mut inverse);
            for (i, (line, inverse)) in lines.enumerate() {
                let seen = if self.causal { first + i + 1 } else { self.m };
                let (line, hidden) = line.split_at_mut(seen);
                let top = largest(line);
                for s in line.iter_mut() {
                    *s = exp(scale * (*s - top));
                }
                hidden.fill(0.0);
                *inverse = (1.0 / sum(line, line, |s, _| s)) as f32;
            }
        });
        (scores, inverse)
    }
}

pub fn forward(qkv: [Flexible; 3], heads: usize, causal: bool) -> Flexible {
    let scores = Scores::new(qkv, heads, causal);
    let Scores { batch, n, m, d, block, .. } = scores;
    let width = heads * d;
    let mut y = vec![0.0; batch * n * width];
    y.par_chunks_mut(n * width).enumerate().for_each(|(sample, y)| {
        y.par_chunks_mut(block * width).enumerate().for_each(|(index, y)| {
            for head in 0..heads {
                let (at, count) = ([sample, head], y.len() / width);
                let (p, inverse) = scores.exponentials(at, index * block, count);
                let found = Flex::float_matmul(p, rows(&scores.v, at, 0, m));
                let lines = y.chunks_exact_mut(width).zip(numbers(&found).chunks_exact(d));
                for ((y, found), inverse) in lines.zip(inverse) {
                    let y = &mut y[head * d..][..d];
                    y.iter_mut().zip(found).for_each(|(y, found)| *y = found * inverse);
                }
            }
        });
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
    let scores = Scores::new(qkv, heads, causal);
    let gradient = split(gradient, heads);
    let Scores { batch, n, m, d, block, .. } = scores;
    let empty = |positions| vec![0.0; batch * heads * positions * d];
    let (mut of_q, mut of_k, mut of_v) = (empty(n), empty(m), empty(m));
    let each = of_q
        .par_chunks_mut(n * d)
        .zip(of_k.par_chunks_mut(m * d))
        .zip(of_v.par_chunks_mut(m * d))
        .enumerate();
    each.for_each(|(index, ((of_q, of_k), of_v))| {
        let at = [index / heads, index % heads];
        let (k, v) = (rows(&scores.k, at, 0, m), rows(&scores.v, at, 0, m));
        for (index, of_q) in of_q.chunks_mut(block * d).enumerate() {
            let (first, count) = (index * block, of_q.len() / d);
            let (q, gradient) =
                (rows(&scores.q, at, first, count), rows(&gradient, at, first, count));
            let (mut p, inverse) = scores.exponentials(at, first, count);
            let mut of_scores = Flex::float_matmul(gradient.clone(), v.clone().transpose(2, 3));
            softmax_backward(p.storage_mut(), of_scores.storage_mut(), &inverse, scores.scale());
            let (p_t, of_scores_t) = (p.transpose(2, 3), of_scores.transpose(2, 3));
            of_q.copy_from_slice(numbers(&Flex::float_matmul(of_scores, k.clone())));
            add(of_k, &Flex::float_matmul(of_scores_t, q));
            add(of_v, &Flex::float_matmul(p_t, gradient));
        }
    });
    let joined = |x, positions| merge::<Flex>(tensor(x, [batch, heads, positions, d]));
    (joined(of_q, n), joined(of_k, m), joined(of_v, m))
}

/// From exponentials to $P$, and from the gradient of $P$ to that of the products of queries and keys,
/// $s P \odot (dP - \delta)$.
fn softmax_backward(p: &mut [f32], of_p: &mut [f32], inverse: &[f32], scale: f32) {
    let m = p.len() / inverse.len();
    wide!(|| {
        for ((p, of_p), inverse) in p.chunks_exact_mut(m).zip(of_p.chunks_exact_mut(m)).zip(inverse)
        {
            for p in p.iter_mut() {
                *p *= inverse;
            }
            let delta = sum(p, of_p, |p, of_p| p * of_p) as f32;
            for (of_p, p) in of_p.iter_mut().zip(p) {
                *of_p = scale * *p * (*of_p - delta);
            }
        }
    })
}

fn add(sum: &mut [f32], x: &Flexible) {
    sum.iter_mut().zip(numbers(x)).for_each(|(sum, x)| *sum += x);
}
