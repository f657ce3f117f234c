//! Law 02: rank and its measures multiply under the Kronecker product, whose singular values are
//! all products of the factors'.

use burn::tensor::Tensor;
use higanbana::prelude::{algebra, spectrum};
use proptest::prelude::*;

use super::{
    matrices::{deviation, of_rank, rank, singular_values},
    trials::config,
};

type Product = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rank_and_its_measures_multiply(
        a in [1..=5usize, 1..=5], b in [1..=4usize, 1..=6], ranks in [1..=4usize, 1..=3], seed: u32,
    ) {
        let seed = u64::from(seed);
        let a = of_rank(ranks[0].min(a[0]).min(a[1]), a, seed);
        let b = of_rank(ranks[1].min(b[0]).min(b[1]), b, seed + 7);
        prop_assert_eq!(multiplies(kron, a, b), Ok(()));
    }
}

#[test]
fn a_sum_in_place_of_the_product_is_caught() {
    let sum: Product = |a, b| {
        let (left, right) = (b.ones_like(), a.ones_like());
        kron(a, left) + kron(right, b)
    };
    let verdict = multiplies(sum, of_rank(2, [4, 3], 1), of_rank(3, [3, 3], 2));
    assert_eq!(verdict, Err("the rank is 5, not the product of 2 and 3".into()));
}

fn kron(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let [rows, cols] = [0, 1].map(|axis| a.dims()[axis] * b.dims()[axis]);
    algebra::kron(a, b.unsqueeze_dim(2)).reshape([rows, cols])
}

fn multiplies(product: Product, a: Tensor<2>, b: Tensor<2>) -> Result<(), String> {
    let product = product(a.clone(), b.clone());
    let [ra, rb, rp] = [&a, &b, &product].map(rank);
    if rp != ra * rb {
        return Err(format!("the rank is {rp}, not the product of {ra} and {rb}"));
    }
    let [sa, sb, sp] = [&a, &b, &product].map(singular_values);
    for measure in [spectrum::stable_rank, spectrum::effective_rank, spectrum::nuclear_norm] {
        let (actual, expected) = (measure(&sp), measure(&sa) * measure(&sb));
        if (actual / expected - 1.0).abs() > 1e-12 {
            return Err(format!("a measure is {actual}, not {expected}"));
        }
    }
    let mut expected: Vec<f64> = sa.iter().flat_map(|x| sb.iter().map(move |y| x * y)).collect();
    expected.sort_by(|x, y| y.total_cmp(x));
    expected.resize(sp.len(), 0.0);
    match deviation(&sp, &expected) {
        error if error <= 1e-13 => Ok(()),
        error => Err(format!("a singular value departs by {error:e}")),
    }
}
