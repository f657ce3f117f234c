//! Group normalisation and SiLU from Burn's operations.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{DType, FloatDType, Shape},
};

use super::{DiffusionOps, Recompute};

/// Inputs `x`, `gamma`, `beta`.
#[derive(Debug)]
pub(super) struct Normalise {
    pub groups: usize,
    pub epsilon: f64,
    pub silu: bool,
}

impl<B: DiffusionOps> Recompute<B, 3> for Normalise {
    fn forward(&self, [x, gamma, beta]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        B::normalise(x, gamma, beta, self.groups, self.epsilon, self.silu)
    }

    fn backward(
        &self,
        [x, gamma, beta]: [FloatTensor<B>; 3],
        gradient: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let Self { groups, epsilon, silu } = *self;
        let (x, gamma, beta) =
            B::normalise_backward(x, gamma, beta, gradient, groups, epsilon, silu);
        [x, gamma, beta].map(Some)
    }
}

/// Half precision as single precision, which can hold a sum of squares.
fn widened<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    match x.dtype() {
        DType::F16 | DType::BF16 => B::float_cast(x, FloatDType::F32),
        _ => x,
    }
}

/// A layer on `x` of shape `[batch, channels, ...]`, in at least single precision.
struct Layer<B: Backend> {
    shape: Shape,
    groups: Shape,
    /// $\hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}$.
    normed: FloatTensor<B>,
    /// $1 / \sqrt{\sigma^2 + \epsilon}$ of each group.
    scale: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
}

impl<B: Backend> Layer<B> {
    fn new(inputs: [FloatTensor<B>; 3], groups: usize, epsilon: f64) -> Self {
        let [x, gamma, beta] = inputs.map(widened::<B>);
        let shape = x.shape();
        let grouped = Shape::new([shape[0], groups, shape.num_elements() / (shape[0] * groups)]);
        let x = B::float_reshape(x, grouped.clone());
        let x = B::float_sub(x.clone(), B::float_mean_dim(x, 2));
        let variance = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 2);
        let scale = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
        let normed = B::float_reshape(B::float_mul(x, scale.clone()), shape.clone());
        let mut vector = vec![1; shape.num_dims()];
        vector[1] = shape[1];
        let [gamma, beta] = [gamma, beta].map(|v| B::float_reshape(v, Shape::from(vector.clone())));
        Self { shape, groups: grouped, normed, scale, gamma, beta }
    }

    /// $u = \gamma \hat x + \beta$.
    fn output(&self) -> FloatTensor<B> {
        let scaled = B::float_mul(self.normed.clone(), self.gamma.clone());
        B::float_add(scaled, self.beta.clone())
    }

    /// The sum over all that shares a channel.
    fn by_channel(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let dims = (0..self.shape.num_dims()).filter(|dim| *dim != 1);
        let sum = dims.fold(x, |x, dim| B::float_sum_dim(x, dim));
        B::float_reshape(sum, Shape::new([self.shape[1]]))
    }

    /// The mean of each group, spread over it.
    fn mean(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        B::float_mean_dim(B::float_reshape(x, self.groups.clone()), 2)
    }
}

/// $1 / (1 + e^{-u})$.
fn sigmoid<B: Backend>(u: FloatTensor<B>) -> FloatTensor<B> {
    B::float_recip(B::float_add_scalar(B::float_exp(B::float_neg(u)), 1.0.into()))
}

pub(in super::super) fn composed<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> FloatTensor<B> {
    let dtype = inputs[0].dtype();
    let u = Layer::<B>::new(inputs, groups, epsilon).output();
    let y = if silu { B::float_mul(u.clone(), sigmoid::<B>(u)) } else { u };
    B::float_cast(y, dtype.into())
}

/// With $dz = dy f'(u)$, $d\hat x = \gamma dz$, and means over a group:
///
/// $$ d\gamma = \sum dz \hat x, \quad d\beta = \sum dz, \quad dx = \frac{d\hat x -
/// \overline{d\hat x} - \hat x \overline{d\hat x \hat x}}{\sqrt{\sigma^2 + \epsilon}}, \quad
/// silu'(u) = \sigma(u) (1 + u (1 - \sigma(u))). $$
pub(in super::super) fn composed_backward<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    gradient: FloatTensor<B>,
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let dtype = inputs[0].dtype();
    let layer = Layer::<B>::new(inputs, groups, epsilon);
    let gradient = widened::<B>(gradient);
    let of_u = if silu {
        let u = layer.output();
        let s = sigmoid::<B>(u.clone());
        let rest = B::float_add_scalar(B::float_neg(s.clone()), 1.0.into());
        let slope = B::float_mul(s, B::float_add_scalar(B::float_mul(u, rest), 1.0.into()));
        B::float_mul(gradient, slope)
    } else {
        gradient
    };
    let normed = layer.normed.clone();
    let of_gamma = layer.by_channel(B::float_mul(of_u.clone(), normed.clone()));
    let of_beta = layer.by_channel(of_u.clone());
    let of_normed = B::float_mul(of_u, layer.gamma.clone());
    let mean = layer.mean(of_normed.clone());
    let product = layer.mean(B::float_mul(of_normed.clone(), normed.clone()));
    let [of_normed, normed] =
        [of_normed, normed].map(|x| B::float_reshape(x, layer.groups.clone()));
    let of_x = B::float_sub(B::float_sub(of_normed, mean), B::float_mul(normed, product));
    let of_x = B::float_reshape(B::float_mul(of_x, layer.scale), layer.shape);
    let [x, gamma, beta] = [of_x, of_gamma, of_beta].map(|x| B::float_cast(x, dtype.into()));
    (x, gamma, beta)
}
