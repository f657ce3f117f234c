//! Each operation against Burn's own ones in `f64`, in value and gradient, whatever it computes in.

use burn::tensor::{
    FloatDType, Tensor,
    activation::{gelu, silu, softmax},
    module,
};

use super::*;
use crate::algebra::testing::{sample, values};

/// Precisions, with how far a result may be off relative to its largest entry.
const PRECISIONS: [(FloatDType, f64); 3] =
    [(FloatDType::F64, 1e-12), (FloatDType::F32, 2e-6), (FloatDType::F16, 4e-3)];

type Values = Vec<Vec<f64>>;

/// The value of `f` and the gradients of a generic scalar of it, in a precision, at inputs that
/// `inputs` can hold.
fn measure<const N: usize>(
    f: &dyn Fn([Tensor<4>; N]) -> Tensor<4>,
    shapes: [[usize; 4]; N],
    inputs: FloatDType,
    dtype: FloatDType,
) -> Values {
    let mut seed = 0;
    let leaves = shapes.map(|shape| {
        seed += 1;
        sample(shape, seed).cast(inputs).cast(dtype).autodiff().require_grad()
    });
    let y = f(leaves.clone());
    let weights = sample(y.dims(), 99).cast(inputs).cast(dtype).autodiff();
    let gradients = (y.clone() * weights).sum().backward();
    let gradients = leaves.map(|leaf| leaf.grad(&gradients).unwrap().cast(FloatDType::F64));
    std::iter::once(y.inner().cast(FloatDType::F64)).chain(gradients).map(values).collect()
}

/// The largest difference, relative to the largest entry; more than anything where there are NaNs.
fn deviation(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    difference.max_by(f64::total_cmp).unwrap_or_default() / largest
}

/// Whether value and gradients are those of the composition, in every precision.
fn agree<const N: usize>(
    fused: &dyn Fn([Tensor<4>; N]) -> Tensor<4>,
    composed: &dyn Fn([Tensor<4>; N]) -> Tensor<4>,
    shapes: [[usize; 4]; N],
) -> Result<(), String> {
    for (dtype, tolerance) in PRECISIONS {
        let found = measure(fused, shapes, dtype, dtype);
        let expected = measure(composed, shapes, dtype, FloatDType::F64);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let off = deviation(found, expected);
            if off.is_nan() || off > tolerance {
                return Err(format!("{dtype:?} {shapes:?}, result {index}: off by {off:.1e}"));
            }
        }
    }
    Ok(())
}

/// The agreement, and that a gradient of any input that is twice as large is noticed.
#[track_caller]
fn check<const N: usize>(
    fused: &dyn Fn([Tensor<4>; N]) -> Tensor<4>,
    composed: &dyn Fn([Tensor<4>; N]) -> Tensor<4>,
    shapes: [[usize; 4]; N],
) {
    agree(fused, composed, shapes).unwrap();
    for index in 0..N {
        let doubled = |mut inputs: [Tensor<4>; N]| {
            let x = inputs[index].clone();
            inputs[index] = x.clone().mul_scalar(2.0) - x.detach();
            fused(inputs)
        };
        assert!(agree(&doubled, composed, shapes).is_err(), "input {index}");
    }
}

fn sequence(x: Tensor<4>) -> Tensor<3> {
    x.squeeze_dim(3)
}

#[test]
fn attention_is_that_of_the_formula() {
    let composed = |qkv: [Tensor<4>; 3], heads: usize, causal: bool| {
        let [q, k, v] = qkv.map(|x| {
            let [batch, n, width, _] = x.dims();
            x.reshape([batch, n, heads, width / heads]).swap_dims(1, 2)
        });
        let [batch, heads, n, d] = q.dims();
        let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar((d as f64).powf(-0.5));
        let scores = match causal {
            false => scores,
            true => {
                let m = scores.dims()[3];
                let hidden = Tensor::<2, burn::tensor::Int>::ones([n, m], &scores.device());
                scores.mask_fill(hidden.triu(1).bool().unsqueeze(), -1e30)
            }
        };
        softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([batch, n, heads * d, 1])
    };
    // The last two are so long that they are computed in blocks of queries on every backend.
    for (batch, n, m, heads, width, causal) in [
        (2, 131, 77, 3, 15, false),
        (1, 5, 2, 1, 4, false),
        (2, 140, 140, 2, 6, true),
        (1, 2100, 2100, 1, 2, false),
        (1, 2100, 2100, 1, 2, true),
    ] {
        let shapes = [[batch, n, width, 1], [batch, m, width, 1], [batch, m, width, 1]];
        let fused =
            |qkv: [Tensor<4>; 3]| attention(qkv.map(sequence), heads, causal).unsqueeze_dim::<4>(3);
        check(&fused, &|qkv| composed(qkv, heads, causal), shapes);
    }
}

#[test]
fn convolutions_are_burns_own() {
    // Strides, paddings before and after, dilations, groups; the last two in several tiles on flex.
    let cases = [
        ([2, 16, 7, 5], [17, 16, 3, 3], ([1, 1], [(1, 1), (1, 1)], [1, 1], 1)),
        ([1, 16, 8, 9], [16, 16, 3, 3], ([2, 2], [(0, 1), (0, 1)], [1, 1], 1)),
        ([2, 18, 9, 6], [16, 18, 2, 4], ([1, 3], [(2, 0), (3, 5)], [3, 2], 1)),
        ([2, 16, 6, 7], [18, 8, 3, 3], ([1, 1], [(1, 1), (1, 1)], [1, 1], 2)),
        ([2, 5, 4, 3], [7, 5, 1, 1], ([1, 1], [(0, 0), (0, 0)], [1, 1], 1)),
        ([2, 5, 6, 7], [7, 5, 1, 1], ([2, 2], [(0, 1), (1, 0)], [1, 1], 1)),
        ([1, 3, 2, 1], [4, 3, 3, 3], ([1, 1], [(1, 1), (2, 2)], [1, 1], 1)),
        ([2, 16, 90, 83], [16, 16, 3, 3], ([1, 1], [(1, 1), (1, 1)], [1, 1], 1)),
        ([1, 32, 170, 83], [16, 32, 3, 3], ([2, 1], [(0, 1), (1, 1)], [1, 2], 1)),
    ];
    for (x, weight, (stride, padding, dilation, groups)) in cases {
        let options = ConvOptions::new_with_padding(stride, padding, dilation, groups);
        let shapes = [x, weight, [weight[0], 1, 1, 1]];
        let bias = |bias: Tensor<4>| Some(bias.reshape([-1]));
        check(
            &|[x, weight, b]| conv2d(x, weight, bias(b), options.clone()),
            &|[x, weight, b]| module::conv2d(x, weight, bias(b), options.clone()),
            shapes,
        );
    }
}

#[test]
fn the_gate_is_burns_own() {
    let composed = |[x]: [Tensor<4>; 1]| {
        let n = x.dims()[3] / 2;
        x.clone().narrow(3, 0, n) * gelu(x.narrow(3, n, n))
    };
    for shape in [[1, 2, 35, 66], [1, 1, 1, 2], [2, 3, 1, 10]] {
        // From one tail of the normal distribution to the other.
        let wide = |x: Tensor<4>| x.mul_scalar(6.0);
        check(&|[x]| geglu(wide(x)), &|[x]| composed([wide(x)]), [shape]);
    }
}

#[test]
fn group_normalisation_is_that_of_the_formula() {
    let vector = |x: Tensor<4>| x.reshape([-1]);
    for (shape, groups) in [([2, 6, 5, 7], 3), ([1, 4, 64, 70], 2), ([3, 8, 1, 3], 1)] {
        for activated in [false, true] {
            let composed = |[x, gamma, beta]: [Tensor<4>; 3]| {
                let [batch, channels, h, w] = x.dims();
                let x = x.reshape([batch, groups, channels / groups * h * w]);
                let x = x.clone() - x.mean_dim(2);
                let x = x.clone() / x.square().mean_dim(2).add_scalar(0.1).sqrt();
                let u = x.reshape([batch, channels, h, w]) * gamma + beta;
                if activated { silu(u) } else { u }
            };
            let fused = |[x, gamma, beta]: [Tensor<4>; 3]| {
                group_norm(x, [vector(gamma), vector(beta)], groups, 0.1, activated)
            };
            let parameters = [1, shape[1], 1, 1];
            check(&fused, &composed, [shape, parameters, parameters]);
        }
    }
}

#[test]
fn a_large_mean_does_not_cost_the_variance() {
    let x = sample([1, 4, 32, 32], 1).mul_scalar(0.01).add_scalar(3.0).cast(FloatDType::F32);
    let norm = |x: Tensor<4>| {
        let one = Tensor::<1>::ones([4], (&x.device(), x.dtype()));
        values(group_norm(x, [one.clone(), one], 2, 1e-6, false).cast(FloatDType::F64))
    };
    let off = deviation(&norm(x.clone()), &norm(x.cast(FloatDType::F64)));
    assert!(off < 1e-4, "{off:.1e}");
}

#[test]
fn what_is_no_number_stays_so() {
    let x = sample([1, 4, 3, 2], 1).cast(FloatDType::F32);
    let place = [0..1, 1..2, 2..3, 0..1];
    let nan = x.clone().slice(place.clone()).mul_scalar(f64::NAN);
    let spoilt = x.clone().slice_assign(place, nan);
    let count =
        |y: Tensor<4>| values(y.cast(FloatDType::F64)).iter().filter(|y| y.is_nan()).count();
    assert_eq!(count(spoilt.clone()), 1);
    let one = Tensor::<1>::ones([4], &x.device());
    assert_eq!(count(group_norm(spoilt.clone(), [one.clone(), one], 2, 1e-5, true)), 12);
    assert_eq!(count(geglu(spoilt.clone())), 1);
    let rows: Tensor<3> = spoilt.reshape([1, 4, 6]);
    let y = attention([rows.clone(), rows.clone(), rows], 2, false);
    assert_eq!(count(y.unsqueeze()), 12);
}

#[test]
fn gradients_that_nobody_wants_are_left_out() {
    let options = ConvOptions::new_with_padding([1, 1], [(1, 1), (1, 1)], [1, 1], 1);
    let x = sample([1, 16, 4, 4], 1).autodiff().require_grad();
    let weight = sample([16, 16, 3, 3], 2).autodiff();
    let y = conv2d(x.clone(), weight.clone(), None, options);
    let gradients = y.sum().backward();
    assert!(x.grad(&gradients).is_some() && weight.grad(&gradients).is_none());
}
