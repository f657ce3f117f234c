//! Law 01 counts on it: the Tucker contraction is the sum that defines it.

use burn::tensor::Tensor;
use higanbana::prelude::algebra;
use proptest::prelude::*;

use super::{
    matrices::{deviation, normal, values},
    trials::config,
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tucker_equals_its_einsum(
        [out, input, taps] in [1..=6usize, 1..=6, 1..=9], [r, s] in [1..=4usize, 1..=4], seed: u32,
    ) {
        let error = departure(algebra::tucker, [out, input, taps], [r, s], seed);
        prop_assert!(error < 1e-13, "departs by {error:e}");
    }
}

#[test]
fn a_core_with_its_ranks_exchanged_is_caught() {
    let exchanged = |core: Tensor<3>, up, down| algebra::tucker(core.swap_dims(0, 1), up, down);
    assert!(departure(exchanged, [5, 4, 9], [3, 3], 1) > 0.1);
}

/// How far `contract` is from $W_{o,i,k} = \sum_{p,q} G_{p,q,k} B_{o,p} A_{q,i}$ at random factors.
fn departure(
    contract: impl Fn(Tensor<3>, Tensor<2>, Tensor<2>) -> Tensor<3>,
    [out, input, taps]: [usize; 3],
    [r, s]: [usize; 2],
    seed: u32,
) -> f64 {
    let seed = u64::from(seed);
    let (core, up, down) =
        (normal([r, s, taps], seed), normal([out, r], seed + 1), normal([s, input], seed + 2));
    let [g, b, a] = [values(&core), values(&up), values(&down)];
    let mut expected = vec![0.0; out * input * taps];
    for (o, i, k) in indices([out, input, taps]) {
        for (p, q, _) in indices([r, s, 1]) {
            expected[(o * input + i) * taps + k] +=
                g[(p * s + q) * taps + k] * b[o * r + p] * a[q * input + i];
        }
    }
    deviation(&values(&contract(core, up, down)), &expected)
}

fn indices([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}
