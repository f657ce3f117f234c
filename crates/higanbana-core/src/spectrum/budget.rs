//! How much of a spectrum to keep.

use super::{rank_at_energy, spectral_norm};

/// How much of a matrix an approximation may keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// This rank.
    Rank(usize),
    /// The smallest rank that keeps this share of the squared Frobenius norm, in `(0, 1]`.
    Energy(f64),
    /// As many singular values as exceed this number.
    Threshold(f64),
    /// As many singular values as exceed this share of the largest.
    Ratio(f64),
}

impl Budget {
    /// The rank for these singular values (descending), at least 1.
    pub fn rank(self, singular_values: &[f64]) -> usize {
        let above = |least: f64| singular_values.iter().filter(|s| **s > least).count();
        let rank = match self {
            Self::Rank(rank) => rank,
            Self::Energy(share) => rank_at_energy(singular_values, share),
            Self::Threshold(least) => above(least),
            Self::Ratio(share) => above(share * spectral_norm(singular_values)),
        };
        rank.clamp(1, singular_values.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_count_singular_values() {
        let s = [4.0, 2.0, 1.0, 0.0];
        assert_eq!(Budget::Rank(9).rank(&s), 4);
        assert_eq!(Budget::Energy(16.0 / 21.0).rank(&s), 1);
        assert_eq!(Budget::Energy(20.0 / 21.0).rank(&s), 2);
        assert_eq!(Budget::Energy(1.0).rank(&s), 3);
        assert_eq!(Budget::Threshold(1.5).rank(&s), 2);
        assert_eq!(Budget::Ratio(0.25).rank(&s), 2);
        assert_eq!(Budget::Threshold(9.0).rank(&s), 1);
    }
}
