//! Norms with a gradient that stays finite at zero, where that of a plain square root does not.

use burn::tensor::Tensor;

/// The norm of each output's row, DoRA's magnitude in LyCORIS's default direction.
///
/// $$n_o = \sqrt{\textstyle\sum_{i,k} W_{oik}^2}$$
///
/// ```text
/// w [out, in, K]  ->  [out]
/// ```
///
/// A row of zeros has norm 0 and gradient 0. Source: DoRA (arXiv:2402.09353).
pub fn output_norms(w: Tensor<3>) -> Tensor<1> {
    let [out, inp, k] = w.dims();
    root(w.square().reshape([out, inp * k]).sum_dim(1)).reshape([out])
}

/// The norm of each input's column, over the outputs and kernel positions.
///
/// $$n_i = \sqrt{\textstyle\sum_{o,k} W_{oik}^2}$$
///
/// ```text
/// w [out, in, K]  ->  [in]
/// ```
///
/// A column of zeros has norm 0 and gradient 0. Source: DoRA (arXiv:2402.09353).
pub fn input_norms(w: Tensor<3>) -> Tensor<1> {
    let [out, inp, k] = w.dims();
    let squares = w.square().reshape([out, inp * k]).sum_dim(0);
    root(squares.reshape([inp, k]).sum_dim(1)).reshape([inp])
}

/// The Frobenius norm of all entries, as a tensor of one element.
///
/// $$\lVert W \rVert_F = \sqrt{\textstyle\sum W^2}$$
///
/// The zero tensor has norm 0 and gradient 0.
pub fn frobenius<const D: usize>(w: Tensor<D>) -> Tensor<1> {
    root(w.square().sum())
}

/// The square root with derivative 0 at 0: the zeros step aside before the root is taken.
fn root<const D: usize>(squares: Tensor<D>) -> Tensor<D> {
    let zero = squares.clone().equal_scalar(0.0);
    squares.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{assert_gradients, close, sample, tensor, values};

    #[test]
    fn norms_equal_numpy() {
        let w = tensor([2, 2, 2], &[3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 5.0, 12.0]);
        assert_eq!(values(output_norms(w.clone())), [5.0, 13.0]);
        assert_eq!(values(input_norms(w.clone())), [5.0, 13.0]);
        close(frobenius(w), tensor([1], &[194f64.sqrt()]), 1e-15);
        let w = tensor([1, 2, 2], &[3.0, 4.0, 5.0, 12.0]);
        assert_eq!(values(input_norms(w.clone())), [5.0, 13.0]);
        close(output_norms(w), tensor([1], &[194f64.sqrt()]), 1e-15);
    }

    #[test]
    fn norm_gradients() {
        assert_gradients(output_norms, sample([3, 2, 2], 1));
        assert_gradients(input_norms, sample([3, 2, 2], 2));
        assert_gradients(frobenius::<3>, sample([3, 2, 2], 3));
    }

    #[test]
    fn a_zero_row_has_norm_and_gradient_zero() {
        let w = sample([2, 1, 2], 4).autodiff().detach();
        let w = (w * tensor([2, 1, 1], &[0.0, 1.0]).autodiff()).require_grad();
        let norms = output_norms(w.clone());
        assert_eq!(values(norms.clone())[0], 0.0);
        let gradient = values(w.grad(&norms.sum().backward()).unwrap());
        assert_eq!(&gradient[..2], [0.0, 0.0]);
        assert!(gradient[2..].iter().all(|g| g.is_finite() && *g != 0.0));
    }
}
