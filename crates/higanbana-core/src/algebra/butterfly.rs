//! Butterfly products: block rotations between perfect shuffles, so that few small blocks reach
//! every row.

use burn::tensor::Tensor;

use super::rotate_rows;

/// Applies the stages `0, 1, ..., m - 1` of a butterfly in turn to the rows of `w`.
///
/// $$W' = \tilde R_{m-1} \cdots \tilde R_1 \tilde R_0 W$$
///
/// ```text
/// rotations [m, n, b, b]  w [n·b, cols]  ->  [n·b, cols]
/// ```
///
/// `m = log2(n) + 1` stages mix every row with every other; the last one spans all rows. The
/// blocks are applied as they are, not transposed (unlike LyCORIS's OFT).
///
/// Source: BOFT (arXiv:2311.06243), with the permutation of LyCORIS 4.1.3.
///
/// # Panics
///
/// If `b` is odd or `2^(m-1)` does not divide `n`.
pub fn butterfly(w: Tensor<2>, rotations: Tensor<4>) -> Tensor<2> {
    (0..)
        .zip(rotations.iter_dim(0))
        .fold(w, |w, (stage, rotation)| butterfly_stage(w, rotation.squeeze_dim::<3>(0), stage))
}

/// One stage: shuffle the rows, rotate the blocks, shuffle back.
///
/// $$\tilde R_i = P_i^\top \operatorname{blockdiag}(R_{i1}, \dots, R_{in}) P_i$$
///
/// With `k = 2^i·b/2`, `P_i` interleaves the two halves of each group of `2k` rows: row
/// `c·2k + 2j + g` of the shuffled matrix is row `c·2k + g·k + j` of `w`.
///
/// ```text
/// w [n·b, cols]  rotation [n, b, b]  ->  [n·b, cols]
/// ```
///
/// # Panics
///
/// If `b` is odd or `2^i` does not divide `n`.
pub fn butterfly_stage(w: Tensor<2>, rotation: Tensor<3>, stage: u32) -> Tensor<2> {
    let ([rows, cols], [_, b, _]) = (w.dims(), rotation.dims());
    let k = 2usize.pow(stage) * (b / 2);
    let groups = rows / (2 * k);
    let shuffled = w.reshape([groups, 2, k, cols]).swap_dims(1, 2).reshape([rows, cols]);
    let rotated = rotate_rows(rotation, shuffled);
    rotated.reshape([groups, k, 2, cols]).swap_dims(1, 2).reshape([rows, cols])
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;
    use crate::algebra::testing::{assert_gradients, close, sample, tensor};
    use crate::algebra::{bounded, cayley, skew};

    fn base() -> Tensor<2> {
        let entries: Vec<f64> = (1..=8).map(f64::from).flat_map(|x| [x, x * x / 10.0]).collect();
        tensor([8, 2], &entries)
    }

    fn rotations(q: Tensor<3>, [m, n]: [usize; 2]) -> Tensor<4> {
        let [_, b, _] = q.dims();
        cayley(q).reshape([m, n, b, b])
    }

    #[test]
    fn three_stages_of_pairs_equal_lycoris() {
        let angles = [0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.25, -0.15, 0.35, 0.45, -0.55];
        let upper: Vec<f64> = angles.iter().flat_map(|x| [0.0, *x, 0.0, 0.0]).collect();
        let expected = [
            -1.9385678699663753,
            -2.3371838294641205,
            -1.1692112958854999,
            0.1443395014588844,
            -2.786597037603178,
            -0.8299388120655214,
            2.231451544479352,
            0.34755440993951714,
            12.486803686131934,
            8.56503672202195,
            4.061282963393451,
            2.479511991627741,
            -1.9848561593657,
            -0.7186479259059144,
            3.1267332690285246,
            1.1844225379271327,
        ];
        let rotations = rotations(skew(tensor([12, 2, 2], &upper)), [3, 4]);
        close(butterfly(base(), rotations), tensor([8, 2], &expected), 1e-14);
    }

    #[test]
    fn two_bounded_stages_of_fours_equal_lycoris() {
        let blocks: Vec<f64> = (1..=64).map(|k| f64::from(k * 7 % 11 - 5) / 10.0).collect();
        let expected = [
            2.4835280016972874,
            0.7600271658925253,
            -0.5932859920432398,
            -1.015814765124508,
            0.6518312380904243,
            -0.6542610990352867,
            6.829324466565345,
            3.573322043699117,
            4.44663972009258,
            2.3477189110956598,
            7.060442731028289,
            4.004962118192507,
            6.1224189204776565,
            4.843384668322865,
            6.580962996978045,
            5.2824152011504495,
        ];
        let q = bounded(skew(tensor([4, 4, 4], &blocks)), 0.5);
        close(butterfly(base(), rotations(q, [2, 2])), tensor([8, 2], &expected), 1e-14);
    }

    #[test]
    fn all_stages_together_reach_every_row_from_every_row() {
        let rotations = rotations(skew(sample([12, 2, 2], 1)), [3, 4]);
        let identity = Tensor::<2>::eye(8, &rotations.device()).cast(FloatDType::F64);
        let smallest = butterfly(identity, rotations).abs().min().into_scalar::<f64>();
        assert!(smallest > 0.0);
    }

    #[test]
    fn butterfly_gradients() {
        let (w, rotations) = (sample([8, 2], 2), sample([2, 2, 4, 4], 3));
        assert_gradients(|x| butterfly(x, rotations.clone()), w.clone());
        assert_gradients(|x| butterfly(w.clone(), x), rotations.clone());
    }
}
