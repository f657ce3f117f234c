//! Student's distribution.

use std::f64::consts::PI;

/// $P(\lvert T \rvert > t)$ with $\nu$ degrees of freedom, by the finite sums of Abramowitz and Stegun, 26.7.3 and
/// 26.7.4: with $\theta = \arctan(t / \sqrt \nu)$, of
/// $$\tfrac2\pi \big(\theta + \sin\theta \big(\cos\theta + \tfrac23 \cos^3\theta + \dots\big)\big), \qquad
/// \sin\theta \big(1 + \tfrac12 \cos^2\theta + \tfrac{1 \cdot 3}{2 \cdot 4} \cos^4\theta + \dots\big)$$
/// for odd and even $\nu$, with powers up to $\nu - 2$, what 1 leaves.
fn beyond(freedom: usize, t: f64) -> f64 {
    let theta = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = theta.sin_cos();
    let odd = freedom % 2;
    let (mut sum, mut term) = (0.0, if odd == 1 { cosine } else { 1.0 });
    for power in (odd..freedom.saturating_sub(1)).step_by(2) {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
    }
    1.0 - if odd == 1 { 2.0 / PI * (theta + sine * sum) } else { sine * sum }
}

/// The $t$ beyond which, on either side, lies the probability $a$.
pub(super) fn quantile(freedom: usize, a: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(freedom, high) > a {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if beyond(freedom, middle) > a { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    /// From tables, as scipy's `t.ppf(1 - a/2, ν)` has them to six digits.
    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, a, expected) in [
            (1, 0.05, 12.7062),
            (2, 0.05, 4.302_653),
            (3, 0.05, 3.182_446),
            (4, 0.05, 2.776_445),
            (7, 0.05, 2.364_624),
            (10, 0.01, 3.169_273),
            (30, 0.05, 2.042_272),
            (2, 0.001, 31.599_055),
            (5, 0.001, 6.868_827),
        ] {
            let found = quantile(freedom, a);
            assert!((found / expected - 1.0).abs() < 1e-5, "{freedom}, {a}: {found}");
        }
    }
}
