//! Measures that compare matrices: against numpy and scipy, in `f64` (`tests/reference/make_measures.py` says
//! what each value is), and what holds of them for every matrix.

use higanbana::prelude::{algebra, spectrum};
use proptest::prelude::*;

use super::{
    matrices::{Golden, deviation, normal, of_rank, singular_values, values},
    trials::config,
};

const GOLDEN: Golden = Golden(include_bytes!("../reference/measures.safetensors"));

#[test]
fn condition_and_energy() {
    let s = singular_values(&GOLDEN.input("condition.matrix", [9, 5]));
    GOLDEN.equals(&[spectrum::condition_number(&s)], "condition.number");
    for (share, key) in [(0.9, "condition.rank_at_90"), (0.99, "condition.rank_at_99")] {
        GOLDEN.equals(&[spectrum::rank_at_energy(&s, share) as f64], key);
    }
}

#[test]
fn vendi_score() {
    let features = GOLDEN.input::<2>("vendi.features", [12, 7]);
    let unit = features.clone() / features.square().sum_dim(1).sqrt();
    GOLDEN.equals(&[spectrum::vendi_score(&singular_values(&unit))], "vendi.score");
}

#[test]
fn principal_angles() {
    let (a, b) = (GOLDEN.input("angles.a", [10, 4]), GOLDEN.input("angles.b", [10, 3]));
    let angles = spectrum::principal_angles(&a, &b).unwrap();
    GOLDEN.equals(&angles, "angles.angles");
    let smallest = (angles[0] - GOLDEN.values("angles.angles")[0]).abs() / angles[0];
    assert!(angles[0] < 1e-6 && smallest < 1e-7, "{angles:?} departs by {smallest:e}");
}

#[test]
fn intruder_dimensions() {
    let decomposed = |key| spectrum::svd(&GOLDEN.input(key, [16, 12])).unwrap();
    let (base, tuned) = (decomposed("intruders.base"), decomposed("intruders.tuned"));
    GOLDEN.equals(&spectrum::likeness(&base, &tuned, 6), "intruders.likeness");
    let epsilons = GOLDEN.values("intruders.epsilons");
    let counts = spectrum::intruder_dimensions(&base, &tuned, 6, &epsilons);
    let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
    assert_eq!(counts, GOLDEN.values("intruders.counts"));
    assert!(counts.first() != counts.last());
}

#[test]
fn procrustes() {
    let (x, y) = (GOLDEN.input("procrustes.x", [5, 8]), GOLDEN.input("procrustes.y", [5, 8]));
    let rotation = algebra::cayley(spectrum::procrustes(&x, &y, 5).unwrap());
    GOLDEN.equals(&values(&rotation), "procrustes.rotation");
    let left = algebra::rotate_rows_transposed(rotation, x) - y;
    GOLDEN.equals(&values(&algebra::frobenius(left)), "procrustes.error");
}

proptest! {
    #![proptest_config(config())]

    /// Every measure of rank lies where it must, and none sees scale or transposition.
    #[test]
    fn measures_are_ordered(
        shape in [1..=9usize, 1..=9], rank in 1..=9usize, exponent in -200..=200i32, seed: u32,
    ) {
        let rank = rank.min(shape[0]).min(shape[1]);
        let matrix = of_rank(rank, shape, u64::from(seed));
        let s = singular_values(&matrix);
        let (stable, effective) = (spectrum::stable_rank(&s), spectrum::effective_rank(&s));
        let [at_90, at_99] = [0.9, 0.99].map(|share| spectrum::rank_at_energy(&s, share));
        prop_assert!(1.0 <= stable && stable <= effective * (1.0 + 1e-9));
        prop_assert!(effective <= rank as f64 * (1.0 + 1e-9));
        prop_assert!(1 <= at_90 && at_90 <= at_99 && at_99 <= rank);
        prop_assert!(spectrum::vendi_score(&s) <= effective * (1.0 + 1e-9));
        let other = singular_values(&matrix.transpose().mul_scalar(2f64.powi(exponent)));
        prop_assert!((spectrum::effective_rank(&other) - effective).abs() < 1e-9 * effective);
        prop_assert!((spectrum::stable_rank(&other) - stable).abs() < 1e-9 * stable);
    }

    /// Angles do not depend on which is first, nor on the bases, nor on a common rotation.
    #[test]
    fn angles_are_of_spaces(p in 1..=4usize, q in 1..=4usize, seed: u32) {
        let seed = u64::from(seed);
        let (a, b) = (normal([8, p], seed), normal([8, q], seed + 1));
        let angles = spectrum::principal_angles(&a, &b).unwrap();
        prop_assert_eq!(angles.len(), p.min(q));
        prop_assert!(angles.is_sorted());
        let turn = algebra::cayley(algebra::skew(normal([1, 8, 8], seed + 2))).squeeze_dim::<2>(0);
        let other = spectrum::principal_angles(
            &turn.clone().matmul(b).matmul(normal([q, q], seed + 3)),
            &turn.matmul(a).matmul(normal([p, p], seed + 4)),
        );
        prop_assert!(deviation(&other.unwrap(), &angles) < 1e-7);
    }
}
