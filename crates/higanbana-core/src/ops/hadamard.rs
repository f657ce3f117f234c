//! The backward passes of a Hadamard product of two thin products.

use burn::backend::tensor::FloatTensor;

use super::{AdapterOps, recompute::Recompute};

/// Inputs `w1_a`, `w1_b`, `w2_a`, `w2_b`.
#[derive(Debug)]
pub(super) struct HadamardUpdate {
    pub scale: f64,
}

impl<B: AdapterOps> Recompute<B, 4> for HadamardUpdate {
    fn forward(&self, [w1_a, w1_b, w2_a, w2_b]: [FloatTensor<B>; 4]) -> FloatTensor<B> {
        B::hadamard_update(w1_a, w1_b, w2_a, w2_b, self.scale)
    }

    /// With $P_i = W_{ia} W_{ib}$, $P_1$ including the scale: $P_1$ gets $G \odot P_2$ and $P_2$
    /// gets $G \odot P_1$, each of which then goes through its product.
    fn backward(
        &self,
        [w1_a, w1_b, w2_a, w2_b]: [FloatTensor<B>; 4],
        gradient: FloatTensor<B>,
        [to_1a, to_1b, to_2a, to_2b]: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        let w1_a = B::float_mul_scalar(w1_a, self.scale.into());
        let mut gradients = [const { None }; 4];
        if to_1a || to_1b {
            let p2 = B::float_matmul(w2_a.clone(), w2_b.clone());
            let of_p1 = B::float_mul(gradient.clone(), p2);
            let [of_a, of_b] = product::<B>(&w1_a, &w1_b, of_p1, [to_1a, to_1b]);
            gradients[0] = of_a.map(|g| B::float_mul_scalar(g, self.scale.into()));
            gradients[1] = of_b;
        }
        if to_2a || to_2b {
            let p1 = B::float_matmul(w1_a, w1_b);
            let of_p2 = B::float_mul(gradient, p1);
            [gradients[2], gradients[3]] = product::<B>(&w2_a, &w2_b, of_p2, [to_2a, to_2b]);
        }
        gradients
    }
}

/// Inputs `x`, `w0`, `w1_a`, `w1_b`, `w2_a`, `w2_b`.
#[derive(Debug)]
pub(super) struct HadamardLinear {
    pub scale: f64,
}

impl<B: AdapterOps> Recompute<B, 6> for HadamardLinear {
    fn forward(&self, [x, w0, w1_a, w1_b, w2_a, w2_b]: [FloatTensor<B>; 6]) -> FloatTensor<B> {
        B::hadamard_linear(x, w0, w1_a, w1_b, w2_a, w2_b, self.scale)
    }

    /// With $W$ the adapted weight: $x$ gets $G W$, and $W$ gets $G^\top x$, which is the gradient
    /// of $W_0$ and goes on through the update.
    fn backward(
        &self,
        [x, w0, w1_a, w1_b, w2_a, w2_b]: [FloatTensor<B>; 6],
        gradient: FloatTensor<B>,
        [to_x, to_w0, to_1a, to_1b, to_2a, to_2b]: [bool; 6],
    ) -> [Option<FloatTensor<B>>; 6] {
        let factors = [w1_a, w1_b, w2_a, w2_b];
        let to_factors = [to_1a, to_1b, to_2a, to_2b];
        let update = HadamardUpdate { scale: self.scale };
        let of_x = to_x.then(|| {
            let change = Recompute::<B, 4>::forward(&update, factors.clone());
            let weight = B::float_add(w0, change);
            B::float_matmul(gradient.clone(), weight)
        });
        if !to_w0 && to_factors == [false; 4] {
            return [of_x, None, None, None, None, None];
        }
        let of_w = B::float_matmul(B::float_transpose(gradient), x);
        let of_w0 = to_w0.then(|| of_w.clone());
        let [of_1a, of_1b, of_2a, of_2b] =
            Recompute::<B, 4>::backward(&update, factors, of_w, to_factors);
        [of_x, of_w0, of_1a, of_1b, of_2a, of_2b]
    }
}

/// Gradients of `a` and `b` from that of `a b`.
fn product<B: AdapterOps>(
    a: &FloatTensor<B>,
    b: &FloatTensor<B>,
    gradient: FloatTensor<B>,
    [to_a, to_b]: [bool; 2],
) -> [Option<FloatTensor<B>>; 2] {
    let of_a = to_a.then(|| B::float_matmul(gradient.clone(), B::float_transpose(b.clone())));
    let of_b = to_b.then(|| B::float_matmul(B::float_transpose(a.clone()), gradient));
    [of_a, of_b]
}
