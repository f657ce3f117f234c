//! Comparison on the host, in `f64`.

use burn::tensor::Tensor;
use higanbana_core::{Features, Tensors};

/// The entries, row-major.
pub(super) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// All entries of features in one row.
pub(super) fn flat(features: &Features) -> Tensor<1> {
    match features {
        Features::Rows { x, .. } => x.clone().flatten(0, 1),
        Features::Maps(x) => x.clone().flatten(0, 3),
    }
}

/// Euclidean norm.
pub(super) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// $\sum_i x_i y_i$.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// $\lVert x - y \rVert$; infinite where a number is none or the lengths differ.
pub(super) fn difference(x: &[f64], y: &[f64]) -> f64 {
    let apart: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    let distance = norm(&apart);
    if x.len() == y.len() && distance.is_finite() { distance } else { f64::INFINITY }
}

/// $\lVert x - y \rVert$ relative to the larger of the two; 0 where both are zero, infinite where a number
/// is none, be it the same in both.
pub(super) fn deviation(x: &[f64], y: &[f64]) -> f64 {
    match difference(x, y) {
        0.0 => 0.0,
        f64::INFINITY => f64::INFINITY,
        distance => distance / norm(x).max(norm(y)),
    }
}

/// Whether an error is above a bound. One that is no finite number is above any, and any above a bound that is none.
pub(super) fn exceeds(error: f64, bound: f64) -> bool {
    !(error.is_finite() && error <= bound)
}

/// The first key whose tensor is missing from one of two files or has other bytes.
pub(super) fn differs<'a>(a: &'a Tensors, b: &'a Tensors) -> Option<&'a String> {
    a.keys().chain(b.keys()).find(|key| match (a.get(*key), b.get(*key)) {
        (Some(a), Some(b)) => {
            a.shape() != b.shape() || a.dtype() != b.dtype() || a.as_bytes() != b.as_bytes()
        }
        _ => true,
    })
}

/// Whether two tensors have the same bits.
pub(super) fn same_bits<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> bool {
    let (a, b) = (a.to_data(), b.to_data());
    a.shape() == b.shape() && a.dtype() == b.dtype() && a.as_bytes() == b.as_bytes()
}
