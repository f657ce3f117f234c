//! The Tucker contraction is the sum that defines it.

use higanbana::prelude::algebra;
use proptest::prelude::*;

use super::{
    matrices::{deviation, normal, values},
    trials::config,
};

proptest! {
    #![proptest_config(config())]

    /// $W_{o,i,k} = \sum_{p,q} G_{p,q,k} B_{o,p} A_{q,i}$.
    #[test]
    fn tucker_equals_its_einsum(
        [out, input, taps] in [1..=6usize, 1..=6, 1..=9], [r, s] in [1..=4usize, 1..=4], seed: u32,
    ) {
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
        let actual = values(&algebra::tucker(core, up, down));
        let error = deviation(&actual, &expected);
        prop_assert!(error < 1e-13, "departs by {error:e}");
    }
}

fn indices([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}
