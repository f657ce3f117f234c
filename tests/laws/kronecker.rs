//! Rank and its measures multiply under the Kronecker product: its singular values are all products
//! of the factors'.

use higanbana::prelude::{algebra, spectrum};
use proptest::prelude::*;

use super::{
    matrices::{deviation, of_rank, rank, singular_values},
    trials::config,
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rank_and_its_measures_multiply(
        a in [1..=5usize, 1..=5], b in [1..=4usize, 1..=6], ranks in [1..=4usize, 1..=3], seed: u32,
    ) {
        let seed = u64::from(seed);
        let a = of_rank(ranks[0].min(a[0]).min(a[1]), a, seed);
        let b = of_rank(ranks[1].min(b[0]).min(b[1]), b, seed + 7);
        let [rows, cols] = [0, 1].map(|axis| a.dims()[axis] * b.dims()[axis]);
        let product = algebra::kron(a.clone(), b.clone().unsqueeze_dim(2)).reshape([rows, cols]);

        prop_assert_eq!(rank(&product), rank(&a) * rank(&b));
        let [sa, sb, sp] = [&a, &b, &product].map(singular_values);
        for measure in [spectrum::stable_rank, spectrum::effective_rank, spectrum::nuclear_norm] {
            let (actual, expected) = (measure(&sp), measure(&sa) * measure(&sb));
            prop_assert!((actual / expected - 1.0).abs() < 1e-12, "{actual} is not {expected}");
        }
        let mut expected: Vec<f64> = sa.iter().flat_map(|x| sb.iter().map(move |y| x * y)).collect();
        expected.sort_by(|x, y| y.total_cmp(x));
        expected.resize(sp.len(), 0.0);
        prop_assert!(deviation(&sp, &expected) < 1e-13);
    }
}
