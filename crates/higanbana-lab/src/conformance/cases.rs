//! The operations.

use burn::{
    nn::GroupNormConfig,
    tensor::{
        Tensor, activation,
        module::{interpolate, layer_norm, linear},
        ops::{ConvOptions, InterpolateMode, InterpolateOptions},
    },
};
use higanbana_core::ops::{self, hadamard_linear, hadamard_update};

/// One operation on inputs of these sizes, which it shapes itself.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name.
    pub name: &'static str,
    /// Number of entries of each input.
    pub sizes: &'static [usize],
    /// The operation.
    pub run: fn(&[Tensor<1>]) -> Tensor<1>,
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "matmul",
        sizes: &[2 * 6 * 33, 2 * 33 * 5],
        run: |x| flat(shaped(&x[0], [2, 6, 33]).matmul(shaped(&x[1], [2, 33, 5]))),
    },
    Case {
        name: "linear",
        sizes: &[7 * 12, 12 * 9, 9],
        run: |x| {
            let bias = Some(x[2].clone());
            flat(linear(shaped(&x[0], [7, 12]), shaped(&x[1], [12, 9]), bias))
        },
    },
    Case {
        name: "conv 3x3",
        sizes: &[2 * 4 * 49, 6 * 4 * 9, 6],
        run: |x| convolve(x, 4, 6, 3, ConvOptions::new([1, 1], [1, 1], [1, 1], 1)),
    },
    Case {
        name: "conv 1x1",
        sizes: &[2 * 4 * 49, 6 * 4, 6],
        run: |x| convolve(x, 4, 6, 1, ConvOptions::new([1, 1], [0, 0], [1, 1], 1)),
    },
    Case {
        name: "conv stride 2",
        sizes: &[2 * 4 * 49, 6 * 4 * 9, 6],
        run: |x| convolve(x, 4, 6, 3, ConvOptions::new([2, 2], [1, 1], [1, 1], 1)),
    },
    Case {
        name: "conv grouped",
        sizes: &[2 * 4 * 49, 6 * 2 * 9, 6],
        run: |x| convolve(x, 2, 6, 3, ConvOptions::new([1, 1], [1, 1], [1, 1], 2)),
    },
    Case {
        name: "layer norm",
        sizes: &[5 * 16, 16, 16],
        run: |x| flat(layer_norm(shaped(&x[0], [5, 16]), x[1].clone(), Some(x[2].clone()), 1e-5)),
    },
    Case {
        name: "group norm",
        sizes: &[2 * 8 * 9],
        run: |x| {
            let norm = GroupNormConfig::new(4, 8).with_affine(false).init(&x[0].device());
            flat(norm.forward(shaped(&x[0], [2, 8, 9])))
        },
    },
    Case {
        name: "softmax",
        sizes: &[6 * 11],
        run: |x| flat(activation::softmax(shaped(&x[0], [6, 11]), 1)),
    },
    Case {
        name: "attention",
        sizes: &[2 * 2 * 5 * 8, 2 * 2 * 7 * 8, 2 * 2 * 7 * 8],
        run: |x| {
            let qkv = [(0, 5), (1, 7), (2, 7)].map(|(i, n)| shaped(&x[i], [2, n, 16]));
            flat(ops::attention(qkv, 2, false))
        },
    },
    Case {
        name: "group norm + silu",
        sizes: &[2 * 8 * 9, 8, 8],
        run: |x| {
            let vectors = [x[1].clone(), x[2].clone()];
            flat(ops::group_norm(shaped(&x[0], [2, 8, 9]), vectors, 4, 1e-5, true))
        },
    },
    Case { name: "gelu", sizes: &[65], run: |x| ops::gelu(x[0].clone()) },
    Case { name: "geglu", sizes: &[5 * 26], run: |x| flat(ops::geglu(shaped(&x[0], [5, 26]))) },
    Case { name: "silu", sizes: &[65], run: |x| activation::silu(x[0].clone()) },
    Case { name: "tanh", sizes: &[65], run: |x| x[0].clone().tanh() },
    Case {
        name: "interpolate",
        sizes: &[2 * 3 * 12],
        run: |x| {
            let nearest = InterpolateOptions::new(InterpolateMode::Nearest);
            let options = nearest.with_output_size([7, 6]);
            flat(interpolate(shaped(&x[0], [2, 3, 4, 3]), options))
        },
    },
    Case {
        name: "hadamard_update",
        sizes: &[21 * 3, 3 * 33, 21 * 4, 4 * 33],
        run: |x| flat(hadamard_update(factors(x), 0.3)),
    },
    Case {
        name: "hadamard_linear",
        sizes: &[21 * 3, 3 * 33, 21 * 4, 4 * 33, 5 * 33, 21 * 33],
        run: |x| {
            let (rows, w0) = (shaped(&x[4], [5, 33]), shaped(&x[5], [21, 33]));
            flat(hadamard_linear(rows, w0, factors(x), 0.3))
        },
    },
];

fn shaped<const D: usize>(x: &Tensor<1>, shape: [usize; D]) -> Tensor<D> {
    x.clone().reshape(shape)
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let size = x.shape().num_elements();
    x.reshape([size])
}

/// A convolution of 4 channels on 7×7 maps, each filter over `input` of them.
fn convolve(
    x: &[Tensor<1>],
    input: usize,
    output: usize,
    taps: usize,
    options: ConvOptions<2>,
) -> Tensor<1> {
    let weight = shaped(&x[1], [output, input, taps, taps]);
    flat(ops::conv2d(shaped(&x[0], [2, 4, 7, 7]), weight, Some(x[2].clone()), options))
}

fn factors(x: &[Tensor<1>]) -> [Tensor<2>; 4] {
    [(0, [21, 3]), (1, [3, 33]), (2, [21, 4]), (3, [4, 33])].map(|(i, shape)| shaped(&x[i], shape))
}
