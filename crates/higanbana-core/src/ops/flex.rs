//! The operations on flex, the CPU, in single precision: vectorised, and on all threads.
//!
//! Flex computes the functions of single numbers one at a time on one thread; these kernels leave
//! their loops to the compiler's vectors ([`math::wide`]), or write them out ([`conv`]), and their rows
//! to `rayon`, and every result depends on the shapes and the CPU alone, not on the number of threads.
//! Other precisions are composed of Burn's operations.

mod attention;
mod conv;
mod gate;
mod math;
mod norm;

use burn::{
    backend::{
        Flex, TensorMetadata,
        ops::{FloatTensorOps, ModuleOps},
        tensor::FloatTensor,
    },
    tensor::{DType, Shape, TensorData, ops::ConvOptions},
};

use super::{AdapterOps, DiffusionOps, diffusion::composed};

type Flexible = FloatTensor<Flex>;

/// Numbers in row-major order.
fn numbers(x: &Flexible) -> &[f32] {
    x.as_slice().expect("contiguous, in single precision")
}

fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>) -> Flexible {
    Flex::float_from_data(TensorData::new(numbers, shape.into()), &Default::default())
}

fn single(x: &Flexible) -> bool {
    x.dtype() == DType::F32
}

impl AdapterOps for Flex {}

impl DiffusionOps for Flex {
    fn attend(q: Flexible, k: Flexible, v: Flexible, heads: usize, causal: bool) -> Flexible {
        match single(&q) {
            true => attention::forward([q, k, v], heads, causal),
            false => composed::attend::<Self>([q, k, v], heads, causal),
        }
    }

    fn attend_backward(
        q: Flexible,
        k: Flexible,
        v: Flexible,
        gradient: Flexible,
        heads: usize,
        causal: bool,
    ) -> (Flexible, Flexible, Flexible) {
        match single(&q) {
            true => attention::backward([q, k, v], gradient, heads, causal),
            false => composed::attend_backward::<Self>([q, k, v], gradient, heads, causal),
        }
    }

    fn convolve(x: Flexible, weight: Flexible, options: ConvOptions<2>) -> Flexible {
        let plan = conv::Plan::new(&x.shape(), &weight.shape(), &options);
        match single(&x) && plan.pays_forward() {
            true => plan.forward(x, weight),
            false => Self::conv2d(x, weight, None, options),
        }
    }

    fn convolve_x_backward(
        x: Flexible,
        weight: Flexible,
        gradient: Flexible,
        options: ConvOptions<2>,
    ) -> Flexible {
        let plan = conv::Plan::new(&x.shape(), &weight.shape(), &options);
        match single(&x) && plan.pays_backward() {
            true => plan.x_backward(weight, gradient),
            false => Self::conv2d_x_backward(x, weight, gradient, options),
        }
    }

    fn convolve_weight_backward(
        x: Flexible,
        weight: Flexible,
        gradient: Flexible,
        options: ConvOptions<2>,
    ) -> Flexible {
        let plan = conv::Plan::new(&x.shape(), &weight.shape(), &options);
        match single(&x) && plan.pays_backward() {
            true => plan.weight_backward(x, gradient),
            false => composed::convolve_weight_backward::<Self>(x, weight, gradient, options),
        }
    }

    fn gate(x: Flexible) -> Flexible {
        match single(&x) {
            true => gate::forward(x),
            false => composed::gate::<Self>(x),
        }
    }

    fn gate_backward(x: Flexible, gradient: Flexible) -> Flexible {
        match single(&x) {
            true => gate::backward(x, gradient),
            false => composed::gate_backward::<Self>(x, gradient),
        }
    }

    fn normalise(
        x: Flexible,
        gamma: Flexible,
        beta: Flexible,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> Flexible {
        match single(&x) {
            true => norm::forward([x, gamma, beta], groups, epsilon, silu),
            false => composed::normalise::<Self>([x, gamma, beta], groups, epsilon, silu),
        }
    }

    fn normalise_backward(
        x: Flexible,
        gamma: Flexible,
        beta: Flexible,
        gradient: Flexible,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> (Flexible, Flexible, Flexible) {
        let inputs = [x, gamma, beta];
        match single(&inputs[0]) {
            true => norm::backward(inputs, gradient, groups, epsilon, silu),
            false => composed::normalise_backward::<Self>(inputs, gradient, groups, epsilon, silu),
        }
    }
}
