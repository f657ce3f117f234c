//! Shampoo: gradients of a matrix, whitened from both sides.
//!
//! $$L_t = L_{t-1} + G_t G_t^\top, \qquad R_t = R_{t-1} + G_t^\top G_t, \qquad
//! U = (L_t + \epsilon I)^{-1/4} G_t (R_t + \epsilon I)^{-1/4}$$
//!
//! Tensors of more dimensions are matrices `[out, rest]`; vectors take AdamW with the same rate. The
//! roots are taken on the host, in `f64`, of matrices brought near 1 by a power of two, so that a
//! power of two in the gradients changes no bit of the update. Factors of low rank are long and narrow: while
//! all gradients of one together have fewer rows than columns, the root follows from a matrix of that few.

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};
use higanbana_core::spectrum;

use super::{Hyperparameter, Role, Rule, Settings, State, adam::ADAM, adamw, matrices::Matrices};

const SUM: &str = "the sum of squares";
const ROWS: &str = "the gradients, while they have fewer rows than columns";

/// Shampoo.
pub(super) const SHAMPOO: Rule = Rule {
    name: "shampoo",
    title: "Shampoo",
    reference: "arXiv:1802.09568",
    formula: r"(L_t + \epsilon I)^{-1/4}\,G_t\,(R_t + \epsilon I)^{-1/4}",
    why: "two fourth roots of sums of squares of gradients, under a gradient; vectors take AdamW",
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
    state: &[
        State::of("left", SUM, -2),
        State::of("left", ROWS, -1),
        State::of("right", SUM, -2),
        State::of("right", ROWS, -1),
        State::new("moment_1", -1),
        State::new("moment_2", -2),
    ],
    build: |settings| {
        Matrices { matrix: Shampoo(settings.clone()), vector: adamw::build(settings) }.into()
    },
    ..ADAM
};

#[derive(Debug, Clone)]
struct Shampoo(Settings);

/// $L$ and $R$, [gathered].
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
        let (left, right) = state.map(|state| (state.left, state.right)).unzip();
        let (left, right) = (gathered(left, g.clone().transpose()), gathered(right, g.clone()));
        let eps = self.0.get("ridge");
        let [l, r] = [&left, &right].map(|sum| InverseRoot::new(sum, eps));
        // Both powers of two together are the fourth power of one times a remainder.
        let exponent = l.exponent + r.exponent;
        let scale = 2f64.powf(f64::from(exponent.rem_euclid(4)) / -4.0)
            * 2f64.powi(-exponent.div_euclid(4));
        let whitened = r.after(l.after(g.transpose()).transpose());
        let update = whitened.mul_scalar(scale).reshape(shape);
        let decayed = tensor.mul_scalar(1.0 - rate * self.0.get("weight_decay"));
        (decayed - update.mul_scalar(rate), Some(ShampooState { left, right }))
    }

    fn to_device<const D: usize>(state: ShampooState, device: &Device) -> ShampooState {
        let ShampooState { left, right } = state;
        ShampooState { left: left.to_device(device), right: right.to_device(device) }
    }
}

/// The sum $\sum_t X_t^\top X_t$ `[n, n]`; while all $X_t$ together have fewer rows than columns, those rows
/// themselves.
fn gathered(before: Option<Tensor<2>>, x: Tensor<2>) -> Tensor<2> {
    let [_, n] = x.dims();
    let gram = |x: Tensor<2>| x.clone().transpose().matmul(x);
    let rows = match before {
        Some(sum) if sum.dims() == [n, n] => return sum + gram(x),
        Some(rows) => Tensor::cat(vec![rows, x], 0),
        None => x,
    };
    if rows.dims()[0] < n { rows } else { gram(rows) }
}

/// $(2^{-e} (S + \epsilon I))^{-1/4}$ of a sum $S$ `[n, n]`, with $e$ such that the trace is between 1 and 2.
struct InverseRoot {
    exponent: i32,
    /// The root; or, where $S = H^\top H$ has few rows $H$, the $\varphi$ `[k, k]` of
    /// $\epsilon^{-1/4} (I + H^\top \varphi(H H^\top) H)$, with
    /// $\varphi(\lambda) = \big((1 + \lambda/\epsilon)^{-1/4} - 1\big) / \lambda$.
    root: Tensor<2>,
    /// $H$ `[k, n]` and $\epsilon^{-1/4}$.
    few: Option<(Tensor<2>, f64)>,
}

impl InverseRoot {
    fn new(sum: &Tensor<2>, eps: f64) -> Self {
        let [rows, n] = sum.dims();
        let few = rows < n;
        let gram = if few { sum.clone().matmul(sum.clone().transpose()) } else { sum.clone() };
        let values: Vec<f64> = gram.to_data().iter::<f64>().collect();
        let trace = values.iter().step_by(rows + 1).sum::<f64>() + n as f64 * eps;
        let exponent = exponent(trace);
        let scale = 2f64.powi(-exponent);
        // Eigenvalues below this are zeros that rounding moved.
        let ridge = (eps * scale).max(f64::EPSILON);
        let function = |f: &dyn Fn(f64) -> f64| {
            let near_1 = gram.clone().mul_scalar(scale);
            // Gradients that are not finite: neither is the update.
            spectrum::symmetric_function(&near_1, |x| f(x.max(0.0)))
                .unwrap_or_else(|_| near_1.full_like(f64::NAN))
        };
        if !few {
            let root = function(&|x| (x + ridge).powf(-0.25));
            return Self { exponent, root, few: None };
        }
        let phi = |x: f64| match x {
            0.0 => -0.25 / ridge,
            _ => (-0.25 * (x / ridge).ln_1p()).exp_m1() / x,
        };
        let root = function(&phi).mul_scalar(scale);
        Self { exponent, root, few: Some((sum.clone(), ridge.powf(-0.25))) }
    }

    /// The product of `x` `[m, n]` and this.
    fn after(&self, x: Tensor<2>) -> Tensor<2> {
        let Some((rows, factor)) = &self.few else { return x.matmul(self.root.clone()) };
        let along = x.clone().matmul(rows.clone().transpose()).matmul(self.root.clone());
        (x + along.matmul(rows.clone())).mul_scalar(*factor)
    }
}

/// $e$ with $2^e \le x < 2^{e+1}$, 0 where there is none.
fn exponent(x: f64) -> i32 {
    if x.is_normal() { ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023 } else { 0 }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;

    #[test]
    fn a_wide_gradient_by_hand() {
        let options = (&Device::default(), DType::F64);
        let shampoo = Shampoo(SHAMPOO.settings().with("ridge", 11.0));
        let mut theta = Tensor::<2>::zeros([1, 3], options);
        let mut state = None;
        let last = 5.0 * 86f64.powf(-0.25) * 61f64.powf(-0.25);
        // The last of them has as many rows in R as columns.
        for (gradient, expected) in [
            // L = 25, R = GᵀG.
            ([3.0, 4.0, 0.0], [0.5, 2.0 / 3.0, 0.0]),
            // L = 50, and 25 in R along the gradient.
            ([0.0, 0.0, 5.0], [0.0, 0.0, 5.0 * 61f64.powf(-0.25) / 6f64.sqrt()]),
            // L = 75 and 50.
            ([0.0, 0.0, 5.0], [0.0, 0.0, last]),
        ] {
            let gradient = Tensor::from_data([gradient], options);
            let before = theta.clone();
            (theta, state) = shampoo.step(1.0, theta, gradient, state);
            let update: Vec<f64> = (before - theta.clone()).to_data().iter().collect();
            let near = update.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-14);
            assert!(near, "{update:?}, not {expected:?}");
        }
    }
}
