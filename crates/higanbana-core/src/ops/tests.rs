use burn::tensor::{DType, Device, FloatDType, Gradients, Tensor, TensorData};

use super::*;
use crate::algebra::testing::{sample, values};

const SCALE: f64 = 0.3;
/// x, w0, w1_a, w1_b, w2_a, w2_b with different ranks.
const SHAPES: [[usize; 2]; 6] = [[5, 33], [21, 33], [21, 3], [3, 33], [21, 4], [4, 33]];

fn composed_update([w1_a, w1_b, w2_a, w2_b]: [Tensor<2>; 4]) -> Tensor<2> {
    w1_a.mul_scalar(SCALE).matmul(w1_b) * w2_a.matmul(w2_b)
}

fn composed_linear([x, w0, w1_a, w1_b, w2_a, w2_b]: [Tensor<2>; 6]) -> Tensor<2> {
    x.matmul((w0 + composed_update([w1_a, w1_b, w2_a, w2_b])).transpose())
}

fn fused_update(factors: [Tensor<2>; 4]) -> Tensor<2> {
    hadamard_update(factors, SCALE)
}

fn fused_linear([x, w0, w1_a, w1_b, w2_a, w2_b]: [Tensor<2>; 6]) -> Tensor<2> {
    hadamard_linear(x, w0, [w1_a, w1_b, w2_a, w2_b], SCALE)
}

/// Value and gradients of a generic scalar of `f(inputs)`; bit `i` of `tracked` asks for that of
/// input `i`.
fn measure<const N: usize>(
    f: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    dtype: FloatDType,
    tracked: usize,
) -> (TensorData, Vec<Option<TensorData>>) {
    let shapes: [[usize; 2]; N] = SHAPES[6 - N..].try_into().unwrap();
    let mut seed = 0;
    let inputs = shapes.map(|shape| {
        seed += 1;
        let input = sample(shape, seed).cast(dtype).autodiff();
        if tracked >> (seed - 1) & 1 == 1 { input.require_grad() } else { input }
    });
    let y = f(inputs.clone());
    let value = y.to_data();
    let weights = sample(y.dims(), 99).cast(dtype).autodiff();
    let gradients: Option<Gradients> = (tracked > 0).then(|| (y * weights).sum().backward());
    let gradient = |x: Tensor<2>| Some(x.grad(gradients.as_ref()?)?.to_data());
    (value, inputs.map(gradient).into())
}

/// Whether value and gradients are the same to the bit, whichever inputs are tracked.
fn same_bits<const N: usize>(
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    composed: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) -> bool {
    [FloatDType::F32, FloatDType::F64].into_iter().all(|dtype| {
        (0..1 << N).all(|tracked| {
            let (value, gradients) = measure(&fused, dtype, tracked);
            assert_eq!(gradients.iter().flatten().count(), tracked.count_ones() as usize);
            (value, gradients) == measure(&composed, dtype, tracked)
        })
    })
}

#[test]
fn update_has_the_bits_of_the_composition_whatever_is_tracked() {
    assert!(same_bits(fused_update, composed_update));
}

#[test]
fn linear_has_the_bits_of_the_composition_whatever_is_tracked() {
    assert!(same_bits(fused_linear, composed_linear));
}

#[test]
fn a_wrong_gradient_of_any_one_input_is_noticed() {
    /// `x`, with twice its gradient.
    fn doubled(x: Tensor<2>) -> Tensor<2> {
        x.clone().mul_scalar(2.0) - x.detach()
    }
    fn at<const N: usize>(index: usize, mut inputs: [Tensor<2>; N]) -> [Tensor<2>; N] {
        inputs[index] = doubled(inputs[index].clone());
        inputs
    }
    for index in 0..4 {
        assert!(!same_bits(|inputs| fused_update(at(index, inputs)), composed_update), "{index}");
    }
    for index in 0..6 {
        assert!(!same_bits(|inputs| fused_linear(at(index, inputs)), composed_linear), "{index}");
    }
}

#[test]
fn without_autodiff_the_default_bodies_run() {
    let update = || [2, 3, 4, 5].map(|i| sample(SHAPES[i], i as u64));
    assert_eq!(values(fused_update(update())), values(composed_update(update())));
    let linear = || [0, 1, 2, 3, 4, 5].map(|i| sample(SHAPES[i], i as u64));
    assert_eq!(values(fused_linear(linear())), values(composed_linear(linear())));
}

#[test]
fn one_tensor_may_be_several_inputs() {
    // (s a b) ⊙ (a b) = s (a b)², so at a = b = 1 by 1 the gradient of a is 2 s a b².
    let one = |x: f64| Tensor::<2>::from_data([[x]], (&Device::default(), DType::F64)).autodiff();
    let (a, b) = (one(3.0).require_grad(), one(5.0));
    let y = hadamard_update([a.clone(), b.clone(), a.clone(), b], 0.5);
    assert_eq!(values(y.clone()), [112.5]);
    assert_eq!(values(a.grad(&y.sum().backward()).unwrap()), [75.0]);
}

#[test]
fn checkpointing_changes_nothing() {
    let device = Device::default().autodiff().gradient_checkpointing();
    let gradient = |f: fn([Tensor<2>; 4]) -> Tensor<2>| {
        let leaves = [2, 3, 4, 5].map(|i| {
            Tensor::from_data(sample(SHAPES[i], i as u64).to_data(), (&device, DType::F64))
                .require_grad()
        });
        let y = f(leaves.clone().map(|leaf: Tensor<2>| leaf.mul_scalar(0.5)));
        let gradients = y.square().sum().backward();
        leaves.map(|leaf| leaf.grad(&gradients).unwrap().to_data())
    };
    assert_eq!(gradient(fused_update), gradient(composed_update));
}
