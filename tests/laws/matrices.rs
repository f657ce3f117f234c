//! Seeded `f64` tensors and their comparison.

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana::{
    core::{Init, Site, SiteKind},
    prelude::spectrum,
};
use safetensors::SafeTensors;

/// A file of values that others computed.
pub struct Golden(pub &'static [u8]);

impl Golden {
    /// A value of the file.
    pub fn values(&self, key: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(self.0).expect("a whole file");
        let view = file.tensor(key).expect("a key of the file");
        assert_eq!(view.dtype(), safetensors::Dtype::F64);
        let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        view.data().chunks_exact(8).map(number).collect()
    }

    /// The same as a tensor.
    pub fn input<const D: usize>(&self, key: &str, shape: [usize; D]) -> Tensor<D> {
        tensor(shape, self.values(key))
    }

    #[track_caller]
    pub fn equals(&self, actual: &[f64], key: &str) {
        let error = deviation(actual, &self.values(key));
        assert!(error < 1e-10, "{key}: departs by {error:e}");
    }
}

/// Standard normal entries.
pub fn normal<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let like = Tensor::zeros([1, 1], (&Device::flex(), DType::F64));
    Init::new(&Site::new("matrices", SiteKind::Linear, [1, 1]), like, seed).normal(shape, 1.0)
}

/// These entries.
pub fn tensor<const D: usize>(shape: [usize; D], entries: Vec<f64>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(entries, shape), (&Device::flex(), DType::F64))
}

/// A matrix of this rank.
pub fn of_rank(rank: usize, [rows, cols]: [usize; 2], seed: u64) -> Tensor<2> {
    normal([rows, rank], seed).matmul(normal([rank, cols], seed + 1))
}

/// Entries, row-major.
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// Singular values, descending.
pub fn singular_values(matrix: &Tensor<2>) -> Vec<f64> {
    spectrum::singular_values(matrix).expect("finite")
}

/// Numerical rank.
pub fn rank(matrix: &Tensor<2>) -> usize {
    let [rows, cols] = matrix.dims();
    spectrum::numerical_rank(&singular_values(matrix), rows, cols, 8.0 * f64::EPSILON)
}

/// Largest difference of two lists, relative to the largest entry of the second; NaN where one is.
pub fn deviation(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let largest = |x: &mut dyn Iterator<Item = f64>| -> f64 {
        x.map(f64::abs).max_by(f64::total_cmp).unwrap_or_default()
    };
    let apart = largest(&mut actual.iter().zip(expected).map(|(a, e)| a - e));
    let size = largest(&mut expected.iter().copied());
    if apart == 0.0 { 0.0 } else { apart / size }
}
