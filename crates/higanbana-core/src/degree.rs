//! Homogeneity of an adapter: what the gamma-equivalence theorem asks of it.

use std::fmt;

/// How $\Delta W(\theta)$ scales when the trained tensors are scaled.
///
/// A map is multi-homogeneous with exponents $d_i$ when
/// $$T(s_1 A_1, \dots, s_n A_n) = \Big(\prod_i s_i^{d_i}\Big) T(A_1, \dots, A_n);$$
/// its degree is $m = \sum_i d_i$ (Law 01; arXiv:2309.14859, Theorem 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Degree {
    /// The update itself is multi-homogeneous: exponent of each parameter by name, or of several
    /// that are scaled together, joined by `+`.
    Update(Vec<(&'static str, u32)>),
    /// The update is not, but a map inside it is, and $\gamma$ may sit there:
    /// [`Adapter::update_gamma`](crate::Adapter::update_gamma).
    Inside {
        /// The inner map, as a formula.
        map: &'static str,
        /// Exponent of each parameter by name; 0 for those outside the map.
        exponents: Vec<(&'static str, u32)>,
    },
    /// There is none.
    None {
        /// Why.
        why: &'static str,
    },
}

impl Degree {
    /// $m = \sum_i d_i$ of the update, where it is homogeneous.
    pub fn total(&self) -> Option<u32> {
        match self {
            Self::Update(exponents) => Some(sum(exponents)),
            _ => None,
        }
    }
}

/// `2`; `2 inside` where only a map inside the update has a degree; `none`.
impl fmt::Display for Degree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update(exponents) => write!(f, "{}", sum(exponents)),
            Self::Inside { exponents, .. } => write!(f, "{} inside", sum(exponents)),
            Self::None { .. } => f.write_str("none"),
        }
    }
}

fn sum(exponents: &[(&str, u32)]) -> u32 {
    exponents.iter().map(|(_, d)| d).sum()
}
