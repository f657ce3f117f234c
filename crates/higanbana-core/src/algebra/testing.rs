//! What the unit tests share: `f64` tensors, comparison, and gradients by central differences.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// A tensor of `f64` on the default device.
pub(crate) fn tensor<const D: usize>(shape: [usize; D], entries: &[f64]) -> Tensor<D> {
    let data = TensorData::new(entries.to_vec(), shape);
    Tensor::from_data(data, (&Device::default(), DType::F64))
}

/// Entries in (-1, 1), repeatable and without visible order.
pub(crate) fn sample<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let entry = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    tensor(shape, &(0..shape.iter().product()).map(entry).collect::<Vec<f64>>())
}

/// The entries in row-major order.
pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.try_into_vec_as().unwrap()
}

/// Asserts equal shapes and entries equal up to `tolerance`, absolutely.
#[track_caller]
pub(crate) fn close<const D: usize>(actual: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims());
    for (i, (a, e)) in values(actual).into_iter().zip(values(expected)).enumerate() {
        assert!((a - e).abs() <= tolerance, "entry {i}: {a} is not {e} within {tolerance}");
    }
}

/// Asserts that the gradient of a generic scalar of `f(x)` is that of central differences.
#[track_caller]
pub(crate) fn assert_gradients<const D: usize, const E: usize>(
    f: impl Fn(Tensor<D>) -> Tensor<E>,
    x: Tensor<D>,
) {
    const STEP: f64 = 1e-5;
    let weights = |y: &Tensor<E>| sample(y.dims(), 99);
    let tracked = x.clone().autodiff().require_grad();
    let y = f(tracked.clone());
    let scalar = (y.clone() * weights(&y).autodiff()).sum();
    let gradient = values(tracked.grad(&scalar.backward()).unwrap());

    let entries = values(x.clone());
    for (i, analytic) in gradient.into_iter().enumerate() {
        let shifted = |step: f64| {
            let mut entries = entries.clone();
            entries[i] += step;
            let y = f(tensor(x.dims(), &entries));
            values((y.clone() * weights(&y)).sum())[0]
        };
        let numeric = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
        let error = (analytic - numeric).abs() / numeric.abs().max(1.0);
        assert!(error < 1e-8, "entry {i}: gradient {analytic}, differences {numeric}");
    }
}
