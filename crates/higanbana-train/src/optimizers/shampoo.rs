//! Shampoo: gradients of a matrix, whitened from both sides.
//!
//! $$L_t = L_{t-1} + G_t G_t^\top, \qquad R_t = R_{t-1} + G_t^\top G_t, \qquad
//! U = (L_t + \epsilon I)^{-1/4}\, G_t\, (R_t + \epsilon I)^{-1/4}$$
//!
//! Tensors of more dimensions are matrices `[out, rest]`; vectors take AdamW with the same rate. The
//! roots are taken on the host, in `f64`, of matrices brought near 1 by a power of two, so that a
//! power of two in the gradients changes no bit of the update.

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor, TensorData},
};
use higanbana_core::spectrum;

use super::{Hyperparameter, Role, Rule, Settings, adam::ADAM, adamw, matrices::Matrices};

/// Shampoo.
pub(super) const SHAMPOO: Rule = Rule {
    name: "shampoo",
    title: "Shampoo",
    reference: "arXiv:1802.09568",
    formula: r"(L_t + \epsilon I)^{-1/4}\,G_t\,(R_t + \epsilon I)^{-1/4}",
    why: "two fourth roots of sums of squares of gradients, under a gradient",
    rate: 0.05,
    hyperparameters: &[
        Hyperparameter::decoupled_decay(0.0, 1),
        Hyperparameter {
            name: "ridge",
            role: Role::Ridge,
            value: 1e-6,
            power: -2,
            why: "it is added to squares of gradients",
        },
        Hyperparameter::number("beta_1", 0.9),
        Hyperparameter::number("beta_2", 0.999),
        Hyperparameter::epsilon(1e-8),
    ],
    state: &[("left", -2), ("right", -2), ("moment_1", -1), ("moment_2", -2)],
    build: |settings| {
        Matrices { matrix: Shampoo(settings.clone()), vector: adamw::build(settings) }.into()
    },
    ..ADAM
};

#[derive(Debug, Clone)]
struct Shampoo(Settings);

#[derive(RecordState, Clone)]
struct ShampooState {
    left: Tensor<2>,
    right: Tensor<2>,
}

impl Optimizer for Shampoo {
    type State<const D: usize> = ShampooState;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<ShampooState>,
    ) -> (Tensor<D>, Option<ShampooState>) {
        let (shape, rows) = (tensor.shape(), tensor.dims()[0]);
        let g = gradient.reshape([rows, shape.num_elements() / rows]);
        let mut left = g.clone().matmul(g.clone().transpose());
        let mut right = g.clone().transpose().matmul(g.clone());
        if let Some(state) = state {
            (left, right) = (left + state.left, right + state.right);
        }
        let eps = self.0.get("ridge");
        let (l, r) = (inverse_root(&left, eps), inverse_root(&right, eps));
        // Both powers of two together are the fourth power of one times a remainder.
        let exponent = l.exponent + r.exponent;
        let scale = 2f64.powf(f64::from(exponent.rem_euclid(4)) / -4.0)
            * 2f64.powi(-exponent.div_euclid(4));
        let update = l.root.matmul(g).matmul(r.root).mul_scalar(scale).reshape(shape);
        let decayed = tensor.mul_scalar(1.0 - rate * self.0.get("weight_decay"));
        (decayed - update.mul_scalar(rate), Some(ShampooState { left, right }))
    }

    fn to_device<const D: usize>(state: ShampooState, device: &Device) -> ShampooState {
        let ShampooState { left, right } = state;
        ShampooState { left: left.to_device(device), right: right.to_device(device) }
    }
}

/// $(2^{-e} (A + \epsilon I))^{-1/4}$ with $e$ such that its trace is between 1 and 2.
struct InverseRoot {
    root: Tensor<2>,
    exponent: i32,
}

fn inverse_root(matrix: &Tensor<2>, eps: f64) -> InverseRoot {
    let [n, _] = matrix.dims();
    let (device, dtype) = (matrix.device(), matrix.dtype());
    let mut values: Vec<f64> = matrix.to_data().iter::<f64>().collect();
    (0..n).for_each(|i| values[i * n + i] += eps);
    let trace: f64 = (0..n).map(|i| values[i * n + i]).sum();
    let exponent = exponent(trace);
    let scale = 2f64.powi(-exponent);
    values.iter_mut().for_each(|x| *x *= scale);
    let options = (&device, burn::tensor::DType::F64);
    let near_1 = Tensor::<2>::from_data(TensorData::new(values, [n, n]), options);
    let root = match spectrum::symmetric_power(&near_1, -0.25) {
        Ok(root) => root.cast(dtype),
        // Gradients that are not finite: neither is the update.
        Err(_) => Tensor::full([n, n], f64::NAN, (&device, dtype)),
    };
    InverseRoot { root, exponent }
}

/// $e$ with $2^e \le x < 2^{e+1}$, 0 where there is none.
fn exponent(x: f64) -> i32 {
    if x.is_normal() { ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023 } else { 0 }
}
