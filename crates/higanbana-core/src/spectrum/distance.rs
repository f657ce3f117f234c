//! Sizes and distances of matrices.

use burn::tensor::Tensor;

/// The Frobenius norm, summed in `f64`.
///
/// $$\lVert A \rVert_F = \sqrt{\textstyle\sum_{ij} A_{ij}^2}$$
pub fn frobenius(matrix: &Tensor<2>) -> f64 {
    let data = matrix.to_data();
    root_of_squares(|| data.iter::<f64>())
}

/// How far a matrix is from the one that is expected, in units of that one's norm; 0 where nothing
/// differs, infinite where something is expected to be zero.
///
/// $$\lVert A - B \rVert_F / \lVert B \rVert_F$$
pub fn relative_error(found: &Tensor<2>, expected: &Tensor<2>) -> f64 {
    let [a, b] = [found, expected].map(Tensor::to_data);
    match root_of_squares(|| a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| a - b)) {
        0.0 => 0.0,
        apart => apart / root_of_squares(|| b.iter()),
    }
}

fn root_of_squares<I: Iterator<Item = f64>>(values: impl Fn() -> I) -> f64 {
    let unit = unit(values().fold(0.0, |largest, x| x.abs().max(largest)));
    values().map(|x| x * unit).fold(0.0, |sum, x| sum + x * x).sqrt() / unit
}

/// A power of two that brings the largest of some numbers near 1, so that squares are neither infinite nor zero: no
/// mantissa changes.
pub(super) fn unit(largest: f64) -> f64 {
    // 1023 stands for the exponent 0, and what is below 1 or above 2045 for less or more than a normal number.
    let exponent = (largest.to_bits() >> 52).clamp(1, 2045);
    f64::from_bits((2046 - exponent) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::tensor;

    #[test]
    fn distances_are_relative_to_what_is_expected() {
        let [a, b, zero] = [[3.0, 4.0], [6.0, 8.0], [0.0; 2]].map(|row| tensor([1, 2], &row));
        assert_eq!((frobenius(&a), frobenius(&zero)), (5.0, 0.0));
        assert_eq!((relative_error(&a, &b), relative_error(&b, &a)), (0.5, 1.0));
        for far in [1e300, 1e-300] {
            assert!((frobenius(&a.clone().mul_scalar(far)) / far - 5.0).abs() < 1e-14);
        }
        assert_eq!((relative_error(&zero, &zero), relative_error(&a, &zero)), (0.0, f64::INFINITY));
    }
}
