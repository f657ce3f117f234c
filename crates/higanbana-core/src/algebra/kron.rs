//! The Kronecker product of a kernel-bearing pair, and the rearrangement that makes it rank one.

use burn::tensor::Tensor;

/// The Kronecker product of `w1` with every kernel position of `w2`.
///
/// $$\Delta W_{(u c' + c), (v d' + d), k} = W_{1,uv} W_{2,cdk}$$
///
/// ```text
/// w1 [p, q]  w2 [c', d', K]  ->  [p·c', q·d', K]
/// ```
///
/// Source: LoKr (arXiv:2309.14859).
pub fn kron(w1: Tensor<2>, w2: Tensor<3>) -> Tensor<3> {
    let ([p, q], [c, d, k]) = (w1.dims(), w2.dims());
    let product = w1.reshape([p, 1, q, 1]) * w2.reshape([1, c, 1, d * k]);
    product.reshape([p * c, q * d, k])
}

/// The rearrangement of Van Loan and Pitsianis: each `[c', d', K]` block of `w` becomes one row.
///
/// $$\mathcal R_{(u q + v), ((c d' + d) K + k)}(W) = W_{(u c' + c), (v d' + d), k}$$
///
/// ```text
/// w [p·c', q·d', K]  ->  [p·q, c'·d'·K]
/// ```
///
/// It keeps every entry, and `R(kron(w1, w2))` is the outer product of the two factors' entries:
/// the best sum of `r` Kronecker products is the best rank-`r` matrix of the rearrangement.
///
/// Source: C. Van Loan, N. Pitsianis, Approximation with Kronecker products (1993).
///
/// # Panics
///
/// If `p` does not divide the first dimension or `q` the second.
pub fn rearrange(w: Tensor<3>, p: usize, q: usize) -> Tensor<2> {
    let [out, inp, k] = w.dims();
    let (c, d) = (out / p, inp / q);
    w.reshape([p, c, q, d * k]).swap_dims(1, 2).reshape([p * q, c * d * k])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{assert_gradients, close, sample, tensor, values};

    #[test]
    fn kron_has_the_index_order_of_the_definition() {
        let (w1, w2) = (sample([2, 3], 1), sample([4, 2, 3], 2));
        let product = kron(w1.clone(), w2.clone());
        assert_eq!(product.dims(), [8, 6, 3]);
        let (a, b, product) = (values(w1), values(w2), values(product));
        for (i, entry) in product.into_iter().enumerate() {
            let (row, col, k) = (i / 18, i / 3 % 6, i % 3);
            let expected = a[row / 4 * 3 + col / 2] * b[(row % 4 * 2 + col % 2) * 3 + k];
            assert_eq!(entry, expected, "entry ({row}, {col}, {k})");
        }
    }

    #[test]
    fn kron_equals_numpy() {
        let w1 = tensor([2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let w2 = tensor([1, 2, 1], &[0.0, 5.0]);
        assert_eq!(values(kron(w1, w2)), [0.0, 5.0, 0.0, 10.0, 0.0, 15.0, 0.0, 20.0]);
    }

    #[test]
    fn rearranged_kron_is_an_outer_product() {
        let (w1, w2) = (sample([3, 2], 3), sample([2, 5, 4], 4));
        let w = kron(w1.clone(), w2.clone());
        close(rearrange(w, 3, 2), w1.reshape([6, 1]).matmul(w2.reshape([1, 40])), 0.0);
    }

    #[test]
    fn kron_gradients() {
        assert_gradients(|w1| kron(w1, sample([2, 3, 2], 5)), sample([2, 3], 6));
        assert_gradients(|w2| kron(sample([2, 3], 7), w2), sample([2, 3, 2], 8));
    }
}
