//! Attention from Burn's operations, and its backward pass a block of queries at a time.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Shape, Slice, TensorData, ops::AttentionModuleOptions},
};

use super::{DiffusionOps, Recompute};

/// Scores that the backward pass holds at a time: 16 MB in single precision, four times over.
const SCORES: usize = 1 << 22;

/// Inputs `q`, `k`, `v`.
#[derive(Debug)]
pub(super) struct Attend {
    pub heads: usize,
    pub causal: bool,
}

impl<B: DiffusionOps> Recompute<B, 3> for Attend {
    fn forward(&self, [q, k, v]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        B::attend(q, k, v, self.heads, self.causal)
    }

    fn backward(
        &self,
        [q, k, v]: [FloatTensor<B>; 3],
        gradient: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let (q, k, v) = B::attend_backward(q, k, v, gradient, self.heads, self.causal);
        [q, k, v].map(Some)
    }
}

/// `[batch, n, heads·d]` to `[batch, heads, n, d]`.
fn split<B: Backend>(x: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let [batch, n, width] = x.shape().dims();
    B::float_swap_dims(B::float_reshape(x, Shape::new([batch, n, heads, width / heads])), 1, 2)
}

/// Inverse of [`split`].
pub(in super::super) fn merge<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, heads, n, d] = x.shape().dims();
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::new([batch, n, heads * d]))
}

/// Burn's own attention, for as many queries at a time as [`SCORES`] allows: not every backend has one
/// that does without the scores.
pub(in super::super) fn composed<B: Backend>(
    qkv: [FloatTensor<B>; 3],
    heads: usize,
    causal: bool,
) -> FloatTensor<B> {
    let [q, k, v] = qkv.map(|x| split::<B>(x, heads));
    let options = AttentionModuleOptions { is_causal: causal, ..AttentionModuleOptions::default() };
    let attend = |q, options| B::attention(q, k.clone(), v.clone(), None, None, options);
    let (n, block) = (q.shape()[2], block::<B>(&q, &k));
    // Burn's causal attention takes the last query to see all keys.
    if causal || block == n {
        return merge::<B>(attend(q, options));
    }
    let blocks = (0..n).step_by(block).map(|start| attend(rows::<B>(&q, start, block), options));
    merge::<B>(B::float_cat(blocks.collect(), 2))
}

/// How many queries at a time.
fn block<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>) -> usize {
    let ([batch, heads, n, _], [_, _, m, _]) = (q.shape().dims(), k.shape().dims());
    (SCORES / (batch * heads * m)).clamp(1, n)
}

/// The queries from `start` on, at most `count`.
fn rows<B: Backend>(x: &FloatTensor<B>, start: usize, count: usize) -> FloatTensor<B> {
    let end = (start + count).min(x.shape()[2]);
    B::float_slice(x.clone(), &[Slice::full(), Slice::full(), Slice::from(start..end)])
}

/// With $P = softmax(s Q K^\top)$ and $G$ the gradient of $P V$:
///
/// $$ dV = P^\top G, \quad dS = P \odot (G V^\top - \delta), \quad \delta_i = \sum_j P_{ij} (G
/// V^\top)_{ij}, \quad dQ = s dS K, \quad dK = s dS^\top Q, $$
///
/// for as many queries at a time as [`SCORES`] allows.
pub(in super::super) fn composed_backward<B: Backend>(
    qkv: [FloatTensor<B>; 3],
    gradient: FloatTensor<B>,
    heads: usize,
    causal: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [q, k, v] = qkv.map(|x| split::<B>(x, heads));
    let gradient = split::<B>(gradient, heads);
    let ([_, _, n, d], [_, _, m, _]) = (q.shape().dims(), k.shape().dims());
    let (scale, block) = ((d as f64).powf(-0.5), block::<B>(&q, &k));
    let [k_t, v_t] = [&k, &v].map(|x| B::float_transpose(x.clone()));

    let mut of_q = Vec::new();
    let mut of_kv: Option<[FloatTensor<B>; 2]> = None;
    for start in (0..n).step_by(block) {
        let [q, gradient] = [&q, &gradient].map(|x| rows::<B>(x, start, block));
        let scores = B::float_mul_scalar(B::float_matmul(q.clone(), k_t.clone()), scale.into());
        let scores = match causal {
            true => B::float_add(scores, hidden::<B>(&q, start, m)),
            false => scores,
        };
        let largest = B::float_max_dim(scores.clone(), 3);
        let p = B::float_exp(B::float_sub(scores, largest));
        let p = B::float_div(p.clone(), B::float_sum_dim(p, 3));

        let of_p = B::float_matmul(gradient.clone(), v_t.clone());
        let delta = B::float_sum_dim(B::float_mul(p.clone(), of_p.clone()), 3);
        let of_scores = B::float_mul(p.clone(), B::float_sub(of_p, delta));
        let of_scores = B::float_mul_scalar(of_scores, scale.into());

        of_q.push(B::float_matmul(of_scores.clone(), k.clone()));
        let new = [
            B::float_matmul(B::float_transpose(of_scores), q),
            B::float_matmul(B::float_transpose(p), gradient),
        ];
        of_kv = Some(match of_kv {
            None => new,
            Some([k, v]) => {
                let [new_k, new_v] = new;
                [B::float_add(k, new_k), B::float_add(v, new_v)]
            }
        });
    }
    let [of_k, of_v] = of_kv.expect("attention has queries");
    (merge::<B>(B::float_cat(of_q, 2)), merge::<B>(of_k), merge::<B>(of_v))
}

/// $-\infty$ where a query of `q`, whose first is the one of number `start`, must not see a key.
fn hidden<B: Backend>(q: &FloatTensor<B>, start: usize, m: usize) -> FloatTensor<B> {
    let [_, _, rows, _] = q.shape().dims();
    let entries = (0..rows)
        .flat_map(|i| (0..m).map(move |j| if j > start + i { f32::NEG_INFINITY } else { 0.0 }));
    let data = TensorData::new(entries.collect(), [1, 1, rows, m]).convert_dtype(q.dtype());
    B::float_from_data(data, &q.device())
}
