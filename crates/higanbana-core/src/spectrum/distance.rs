//! Sizes and distances of matrices.

use burn::tensor::Tensor;

/// The Frobenius norm, summed in `f64`.
///
/// $$\lVert A \rVert_F = \sqrt{\textstyle\sum_{ij} A_{ij}^2}$$
pub fn frobenius(matrix: &Tensor<2>) -> f64 {
    root_of_squares(matrix.to_data().iter::<f64>())
}

/// How far a matrix is from the one that is expected, in units of that one's norm; 0 where nothing
/// differs, infinite where something is expected to be zero.
///
/// $$\lVert A - B \rVert_F / \lVert B \rVert_F$$
pub fn relative_error(found: &Tensor<2>, expected: &Tensor<2>) -> f64 {
    let [a, b] = [found, expected].map(Tensor::to_data);
    match root_of_squares(a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| a - b)) {
        0.0 => 0.0,
        apart => apart / root_of_squares(b.iter()),
    }
}

fn root_of_squares(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, x| sum + x * x).sqrt()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    #[test]
    fn distances_are_relative_to_what_is_expected() {
        let matrix = |entries: [[f64; 2]; 1]| Tensor::from_data(entries, &Device::default());
        let (a, b, zero) = (matrix([[3.0, 4.0]]), matrix([[6.0, 8.0]]), matrix([[0.0, 0.0]]));
        assert_eq!((frobenius(&a), frobenius(&zero)), (5.0, 0.0));
        assert_eq!((relative_error(&a, &b), relative_error(&b, &a)), (0.5, 1.0));
        assert_eq!((relative_error(&zero, &zero), relative_error(&a, &zero)), (0.0, f64::INFINITY));
    }
}
