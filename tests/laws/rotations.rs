//! Cayley blocks are rotations, and what is built from them keeps every singular value.

use burn::tensor::Tensor;
use higanbana::prelude::algebra;
use proptest::prelude::*;

use super::{
    matrices::{deviation, normal, singular_values, values},
    trials::config,
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cayley_is_orthogonal(n in 1..=4usize, b in 1..=12usize, size in 0.01..10.0, seed: u32) {
        let r = rotations([n, b, b], size, seed);
        for gram in [r.clone().matmul(r.clone().transpose()), r.clone().transpose().matmul(r)] {
            let error = values(&gram).iter().enumerate().fold(0.0, |most: f64, (index, x)| {
                let one = f64::from(u8::from(index / b % b == index % b));
                most.max((x - one).abs())
            });
            prop_assert!(error < 1e-12, "RRᵀ departs from I by {error:e}");
        }
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

        let identity = Tensor::cat((0..n * b).map(|row| unit(n * b, row)).collect(), 0);
        let mixing = values(&algebra::butterfly(identity, r));
        prop_assert!(mixing.iter().all(|x| x.abs() > 1e-9), "an entry of the product is zero");
    }
}

fn rotations(shape: [usize; 3], size: f64, seed: u32) -> Tensor<3> {
    algebra::cayley(algebra::skew(normal(shape, u64::from(seed)).mul_scalar(size)))
}

fn unit(size: usize, index: usize) -> Tensor<2> {
    let entries = (0..size).map(|i| f64::from(u8::from(i == index))).collect();
    super::matrices::tensor([1, size], entries)
}
