//! Law 02: Cayley blocks are rotations, and what is built from them keeps every singular value. That
//! the adapters do which are said to is the law `rotation` of the battery.

use burn::tensor::Tensor;
use higanbana::prelude::algebra;
use proptest::prelude::*;

use super::{
    matrices::{deviation, normal, singular_values, tensor, values},
    trials::config,
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cayley_is_orthogonal(n in 1..=4usize, b in 1..=12usize, size in 0.01..10.0, seed: u32) {
        let error = departure(rotations([n, b, b], size, seed));
        prop_assert!(error < 1e-12, "RRᵀ departs from I by {error:e}");
    }

    #[test]
    fn cayley_turns_back_where_its_block_is_transposed(b in 1..=8usize, seed: u32) {
        let q = algebra::skew(normal([2, b, b], u64::from(seed)));
        let back = algebra::cayley(q.clone().neg());
        let error = deviation(&values(&back), &values(&algebra::cayley(q).transpose()));
        prop_assert!(error < 1e-12, "R(-Q) departs from R(Q)ᵀ by {error:e}");
    }

    #[test]
    fn block_rotations_keep_singular_values(
        n in 1..=4usize, b in 1..=6usize, cols in 1..=9usize, seed: u32,
    ) {
        let w = normal([n * b, cols], u64::from(seed));
        let r = rotations([n, b, b], 1.0, seed ^ 1);
        let expected = singular_values(&w);
        for turned in [
            algebra::rotate_rows(r.clone(), w.clone()),
            algebra::rotate_rows_transposed(r, w),
        ] {
            let error = deviation(&singular_values(&turned), &expected);
            prop_assert!(error < 1e-13, "singular values move by {error:e}");
        }
    }

    #[test]
    fn butterflies_keep_singular_values_and_mix_every_row(
        log in 0..=3u32, half in 1..=2usize, cols in 1..=9usize, seed: u32,
    ) {
        let (n, b, stages) = (1usize << log, 2 * half, log as usize + 1);
        let r = rotations([stages * n, b, b], 1.0, seed).reshape([stages, n, b, b]);
        let w = normal([n * b, cols], u64::from(seed));
        let turned = algebra::butterfly(w.clone(), r.clone());
        let error = deviation(&singular_values(&turned), &singular_values(&w));
        prop_assert!(error < 1e-13, "singular values move by {error:e}");

        let least = mixing(n * b, r).into_iter().fold(1.0, |least: f64, x| least.min(x.abs()));
        prop_assert!(least > 1e-9, "an entry of the product is {least:e}");
    }
}

#[test]
fn a_rotation_to_first_order_is_caught() {
    let q = algebra::skew(normal([2, 5, 5], 1)).mul_scalar(0.1);
    let identity = algebra::cayley(q.zeros_like());
    assert!(departure(identity + q.mul_scalar(2.0)) > 1e-2);
}

#[test]
fn blocks_that_only_stretch_are_caught() {
    let w = normal([6, 4], 1);
    let stretched = algebra::rotate_rows(rotations([2, 3, 3], 1.0, 2).mul_scalar(1.01), w.clone());
    assert!(deviation(&singular_values(&stretched), &singular_values(&w)) > 1e-3);
}

#[test]
fn a_butterfly_that_lacks_a_stage_is_caught() {
    let r = rotations([3 * 4, 2, 2], 1.0, 1).reshape([3, 4, 2, 2]);
    assert!(mixing(8, r.clone()).iter().all(|x| x.abs() > 1e-9));
    assert!(mixing(8, r.narrow(0, 0, 2)).contains(&0.0));
}

/// Largest entry of $R R^\top - I$ and $R^\top R - I$.
fn departure(r: Tensor<3>) -> f64 {
    let [_, b, _] = r.dims();
    let transposed = r.clone().swap_dims(1, 2);
    let grams = [r.clone().matmul(transposed.clone()), transposed.matmul(r)];
    let apart = grams.iter().flat_map(values).enumerate().map(|(index, x)| {
        let one = f64::from(u8::from(index / b % b == index % b));
        (x - one).abs()
    });
    apart.max_by(f64::total_cmp).unwrap_or_default()
}

/// The entries of the butterfly as a matrix.
fn mixing(rows: usize, rotations: Tensor<4>) -> Vec<f64> {
    let unit = |row| (0..rows).map(move |i| f64::from(u8::from(i == row)));
    let identity = tensor([rows, rows], (0..rows).flat_map(unit).collect());
    values(&algebra::butterfly(identity, rotations))
}

fn rotations(shape: [usize; 3], size: f64, seed: u32) -> Tensor<3> {
    algebra::cayley(algebra::skew(normal(shape, u64::from(seed)).mul_scalar(size)))
}
