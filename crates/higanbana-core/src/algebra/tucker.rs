//! The Tucker form of a kernel: a small core between an output and an input basis.

use burn::tensor::Tensor;

/// Expands a core through its two bases by matrix products alone.
///
/// $$\Delta W_{oik} = \sum_{p,q} U_{op} T_{pqk} D_{qi}$$
///
/// ```text
/// core T [r, s, K]  up U [out, r]  down D [s, in]  ->  [out, in, K]
/// ```
///
/// The last product costs `out·in·K` times the rank it sums over, so it is left to the smaller of
/// the two; at `r = s` to `up`, whose product already has the layout of the result.
///
/// Source: LyCORIS (arXiv:2309.14859), after the convolutions of FedPara (arXiv:2108.06098).
pub fn tucker(core: Tensor<3>, up: Tensor<2>, down: Tensor<2>) -> Tensor<3> {
    let [r, s, k] = core.dims();
    let ([out, _], [_, inp]) = (up.dims(), down.dims());
    let kernel_first = |t: Tensor<3>| t.swap_dims(1, 2);
    if r <= s {
        let inner = kernel_first(core).reshape([r * k, s]).matmul(down);
        let inner = kernel_first(inner.reshape([r, k, inp]));
        up.matmul(inner.reshape([r, inp * k])).reshape([out, inp, k])
    } else {
        let inner = up.matmul(core.reshape([r, s * k]));
        let inner = kernel_first(inner.reshape([out, s, k]));
        kernel_first(inner.reshape([out * k, s]).matmul(down).reshape([out, k, inp]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{assert_gradients, close, sample, tensor};

    fn by_definition(core: &Tensor<3>, up: &Tensor<2>, down: &Tensor<2>) -> Tensor<3> {
        let [_, _, k] = core.dims();
        let slices = (0..k).map(|k| {
            let slice = core.clone().narrow(2, k, 1).squeeze_dim::<2>(2);
            up.clone().matmul(slice).matmul(down.clone())
        });
        Tensor::stack(slices.collect(), 2)
    }

    #[test]
    fn tucker_equals_the_definition_in_both_orders() {
        for (r, s) in [(3, 3), (2, 4), (4, 2), (1, 1)] {
            let (core, up, down) = (sample([r, s, 6], 1), sample([5, r], 2), sample([s, 7], 3));
            let expected = by_definition(&core, &up, &down);
            close(tucker(core, up, down), expected, 1e-14);
        }
    }

    #[test]
    fn tucker_equals_numpy() {
        let core = tensor([1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let up = tensor([2, 1], &[1.0, -1.0]);
        let down = tensor([2, 2], &[1.0, 0.0, 2.0, 1.0]);
        let expected = tensor([2, 2, 2], &[7.0, 10.0, 3.0, 4.0, -7.0, -10.0, -3.0, -4.0]);
        close(tucker(core, up, down), expected, 0.0);
    }

    #[test]
    fn tucker_gradients_in_both_orders() {
        for (r, s) in [(2, 3), (3, 2)] {
            let (core, up, down) = (sample([r, s, 2], 4), sample([4, r], 5), sample([s, 3], 6));
            assert_gradients(|x| tucker(x, up.clone(), down.clone()), core.clone());
            assert_gradients(|x| tucker(core.clone(), x, down.clone()), up.clone());
            assert_gradients(|x| tucker(core.clone(), up.clone(), x), down.clone());
        }
    }
}
