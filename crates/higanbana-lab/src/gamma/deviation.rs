//! How far two trainings are apart.

/// How two trainings differ.
pub(super) struct Comparison {
    /// Relative difference after each step.
    pub growth: Vec<f64>,
    /// Whether all updates are the same bits.
    pub bit_exact: bool,
}

impl Comparison {
    /// The largest difference.
    pub(super) fn deviation(&self) -> f64 {
        self.growth.iter().copied().fold(0.0, f64::max)
    }
}

/// $\lVert x - y \rVert / \lVert x \rVert$, and whether both are the same bits. What is not finite is
/// as far away as can be.
pub(crate) fn difference(x: &[f64], y: &[f64]) -> (f64, bool) {
    let same = x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let apart = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
    let deviation = if apart == 0.0 { 0.0 } else { apart / norm(&mut x.iter().copied()) };
    (if deviation.is_finite() { deviation } else { f64::MAX }, same)
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
