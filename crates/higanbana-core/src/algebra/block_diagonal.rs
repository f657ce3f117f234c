//! Block-diagonal matrices applied to the rows of a weight.

use burn::tensor::Tensor;

/// Multiplies each group of `b` consecutive rows by its own block.
///
/// $$W' = \operatorname{blockdiag}(B_1, \dots, B_k) W$$
///
/// ```text
/// blocks [k, b, b]  w [k·b, cols]  ->  [k·b, cols]
/// ```
pub fn rotate_rows(blocks: Tensor<3>, w: Tensor<2>) -> Tensor<2> {
    let ([k, b, _], [rows, cols]) = (blocks.dims(), w.dims());
    blocks.matmul(w.reshape([k, b, cols])).reshape([rows, cols])
}

/// [`rotate_rows`] with every block transposed, the way OFT applies its rotations.
///
/// $$W' = \operatorname{blockdiag}(B_1, \dots, B_k)^\top W$$
///
/// Source: OFT (arXiv:2306.07280); the transpose is LyCORIS's convention.
pub fn rotate_rows_transposed(blocks: Tensor<3>, w: Tensor<2>) -> Tensor<2> {
    rotate_rows(blocks.swap_dims(1, 2), w)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{assert_gradients, sample, tensor, values};

    #[test]
    fn rows_are_grouped_contiguously() {
        let blocks = tensor([2, 2, 2], &[0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 0.0, 3.0]);
        let w = tensor([4, 1], &[1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(values(rotate_rows(blocks.clone(), w.clone())), [10.0, 2.0, 1100.0, 3000.0]);
        assert_eq!(values(rotate_rows_transposed(blocks, w)), [20.0, 1.0, 100.0, 3100.0]);
    }

    #[test]
    fn rotation_gradients() {
        let (blocks, w) = (sample([2, 3, 3], 1), sample([6, 4], 2));
        assert_gradients(|x| rotate_rows_transposed(x, w.clone()), blocks.clone());
        assert_gradients(|x| rotate_rows(blocks.clone(), x), w.clone());
    }
}
