//! Homogeneity of an adapter: what the gamma-equivalence theorem asks of it.

/// How $\Delta W(\theta)$ scales when the trained tensors are scaled.
///
/// A map is multi-homogeneous with exponents $d_i$ when
/// $$T(s_1 A_1, \dots, s_n A_n) = \Big(\prod_i s_i^{d_i}\Big)\, T(A_1, \dots, A_n);$$
/// its degree is $m = \sum_i d_i$ (arXiv:2309.14859, Theorem 1).
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
            Self::Update(exponents) => Some(exponents.iter().map(|(_, d)| d).sum()),
            _ => None,
        }
    }
}
