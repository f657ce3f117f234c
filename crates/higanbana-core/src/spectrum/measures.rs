//! Measures of a spectrum. Each takes the singular values in descending order, as
//! [`singular_values`](super::singular_values) gives them, which refuses NaN and infinities; those of
//! the zero matrix give 0, and so does an empty list.

/// The number of singular values above the rounding errors of the matrix that they come from.
///
/// $$\operatorname{card}\lbrace i : \sigma_i > \max(m, n) \varepsilon \sigma_1 \rbrace$$
///
/// `eps` is the machine epsilon of the type in which the matrix was *computed* (`f32::EPSILON`,
/// or `f64::EPSILON`, as an `f64`), not of the one that holds it now. The tolerance is that of
/// LAPACK's users, NumPy's `matrix_rank` among them.
pub fn numerical_rank(singular_values: &[f64], rows: usize, cols: usize, eps: f64) -> usize {
    let tolerance = rows.max(cols) as f64 * eps * spectral_norm(singular_values);
    singular_values.iter().filter(|s| **s > tolerance).count()
}

/// The stable rank: the squared Frobenius norm in units of the squared spectral norm.
///
/// $$\operatorname{srank} = \frac{\sum_i \sigma_i^2}{\sigma_1^2} \in [1, \operatorname{rank}]$$
///
/// Source: M. Rudelson, R. Vershynin (arXiv:math/0503442).
pub fn stable_rank(singular_values: &[f64]) -> f64 {
    // A sum of nothing is -0 in the standard library.
    relative(singular_values).fold(0.0, |sum, s| sum + s * s)
}

/// The effective rank of Roy and Vetterli: the exponential of the spectrum's Shannon entropy.
///
/// $$\operatorname{erank} = \exp\Bigl(-\sum_i p_i \ln p_i\Bigr), \qquad p_i = \sigma_i / \sum_j \sigma_j$$
///
/// It is `r` exactly where `r` singular values are equal and the others zero.
///
/// Source: O. Roy, M. Vetterli, The effective rank (EUSIPCO 2007).
pub fn effective_rank(singular_values: &[f64]) -> f64 {
    perplexity(relative(singular_values))
}

/// The Vendi score of `n` samples: the effective number of different ones among them.
///
/// $$\operatorname{VS} = \exp\Bigl(-\sum_i \lambda_i \ln \lambda_i\Bigr), \qquad
/// \lambda_i = \sigma_i^2 / \sum_j \sigma_j^2$$
///
/// Takes the singular values of the features `[n, d]` with rows of length 1, so that
/// $\lambda$ are the eigenvalues of the kernel $K_{ij}/n = \cos(z_i, z_j)/n$. Rows of zeros have no
/// direction and do not count.
///
/// Source: D. Friedman, A. B. Dieng, The Vendi score (arXiv:2210.02410).
pub fn vendi_score(singular_values: &[f64]) -> f64 {
    perplexity(relative(singular_values).map(|s| s * s))
}

/// The condition number $\sigma_1 / \sigma_k$, `k` the smaller dimension: infinite where the matrix
/// has not full rank.
pub fn condition_number(singular_values: &[f64]) -> f64 {
    match singular_values {
        [largest, .., least] if *largest > 0.0 => largest / least,
        [only] if *only > 0.0 => 1.0,
        _ => 0.0,
    }
}

/// $\exp(-\sum p \ln p)$ of weights that are divided by their sum, $0 \ln 0 = 0$; 0 of none.
fn perplexity(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = weights.clone().sum();
    if total == 0.0 {
        return 0.0;
    }
    let shares = weights.map(|weight| weight / total).filter(|p| *p > 0.0);
    shares.map(|p| -p * p.ln()).sum::<f64>().exp()
}

/// The least rank whose best approximation keeps a fraction of the energy `Σ σ²`.
///
/// $$\min\Bigl\lbrace r : \sum_{i \le r} \sigma_i^2 \ge f \sum_i \sigma_i^2\Bigr\rbrace$$
///
/// A fraction of 0 or less needs rank 0; one above 1 is out of reach and gives every value. One that is missed by
/// rounding alone, a share of 1e-12, is reached: of ten equal values nine are nine tenths on every processor.
pub fn rank_at_energy(singular_values: &[f64], fraction: f64) -> usize {
    const ROUNDING: f64 = 1e-12;
    let wanted = fraction * stable_rank(singular_values) * (1.0 - ROUNDING);
    let mut kept = 0.0;
    relative(singular_values)
        .take_while(|s| {
            let missing = kept < wanted;
            kept += s * s;
            missing
        })
        .count()
}

/// The nuclear norm, the sum of the singular values.
pub fn nuclear_norm(singular_values: &[f64]) -> f64 {
    singular_values.iter().sum()
}

/// The spectral norm, the largest singular value.
pub fn spectral_norm(singular_values: &[f64]) -> f64 {
    singular_values.first().copied().unwrap_or(0.0)
}

/// The Frobenius norm, the root of the sum of the squared singular values.
///
/// Of the values from position `r` on, it is the least error of any rank-`r` approximation
/// (Eckart-Young).
pub fn frobenius_norm(singular_values: &[f64]) -> f64 {
    spectral_norm(singular_values) * stable_rank(singular_values).sqrt()
}

/// The values in units of the largest, so that no square overflows; none of a zero matrix.
fn relative(singular_values: &[f64]) -> impl Iterator<Item = f64> + Clone {
    let largest = spectral_norm(singular_values);
    let positive = singular_values.iter().take_while(move |_| largest > 0.0);
    positive.map(move |s| s / largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: [f64; 4] = [4.0, 2.0, 1.0, 0.5];

    #[test]
    fn measures_equal_numpy() {
        assert_eq!(stable_rank(&S), 1.328125);
        assert!((effective_rank(&S) - 3.117142110535455).abs() < 1e-14);
        assert_eq!(nuclear_norm(&S), 7.5);
        assert_eq!(spectral_norm(&S), 4.0);
        assert!((frobenius_norm(&S) - 21.25f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn numerical_rank_counts_above_the_stated_tolerance() {
        let eps = 2f64.powi(-10);
        // 8 · 2⁻¹⁰ · 4 = 2⁻⁵: the value on the tolerance is not counted.
        assert_eq!(numerical_rank(&[4.0, 0.04, 0.03125, 0.0], 4, 8, eps), 2);
        assert_eq!(numerical_rank(&[4.0, 0.04, 0.03125, 0.0], 4, 4, eps), 3);
    }

    #[test]
    fn energy_is_counted_in_squares() {
        // Cumulative shares: 0.753, 0.941, 0.988, 1.
        for (fraction, rank) in
            [(0.0, 0), (0.5, 1), (0.76, 2), (0.94, 2), (0.95, 3), (0.99, 4), (1.0, 4), (2.0, 4)]
        {
            assert_eq!(rank_at_energy(&S, fraction), rank, "{fraction}");
        }
        assert_eq!(rank_at_energy(&[3.0, 1.0, 0.0, 0.0], 1.0), 2);
        // Nine of ten that are equal to rounding, whichever way that goes.
        for above in [0.0, 1e-15, -1e-15] {
            let mut s = [0.1; 10];
            s[..3].fill(0.1 * (1.0 + above));
            s[7..].fill(0.1 * (1.0 - above));
            assert_eq!(rank_at_energy(&s, 0.9), 9, "{above}");
        }
    }

    #[test]
    fn equal_values_have_every_rank_equal_to_their_number() {
        let s = [3.0, 3.0, 3.0, 0.0];
        assert_eq!(stable_rank(&s), 3.0);
        assert!((effective_rank(&s) - 3.0).abs() < 1e-14);
        assert_eq!(numerical_rank(&s, 4, 4, f64::EPSILON), 3);
    }

    #[test]
    fn the_zero_matrix_has_measure_zero() {
        for s in [&[0.0, 0.0][..], &[]] {
            assert_eq!(numerical_rank(s, 2, 2, f64::EPSILON), 0);
            assert_eq!(rank_at_energy(s, 0.9), 0);
            for measure in [
                stable_rank,
                effective_rank,
                vendi_score,
                condition_number,
                nuclear_norm,
                spectral_norm,
                frobenius_norm,
            ] {
                assert_eq!(measure(s), 0.0);
            }
        }
    }

    #[test]
    fn a_matrix_without_full_rank_has_an_infinite_condition() {
        assert_eq!(condition_number(&S), 8.0);
        assert_eq!(condition_number(&[2.0, 0.0]), f64::INFINITY);
        assert_eq!(condition_number(&[2.0]), 1.0);
    }

    #[test]
    fn different_samples_count_once_each() {
        // Three samples along one direction and one along another: λ = ¾, ¼.
        let score = vendi_score(&[3f64.sqrt(), 1.0]);
        assert!((score - 4.0 / 3f64.powf(0.75)).abs() < 1e-14);
        assert_eq!(vendi_score(&[5.0]), 1.0);
    }

    #[test]
    fn squares_do_not_overflow() {
        assert_eq!(stable_rank(&[4e200, 2e200]), 1.25);
        assert_eq!(frobenius_norm(&[3e-200, 0.0]), 3e-200);
    }
}
