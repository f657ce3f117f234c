//! Classifier-free guidance.

use burn::tensor::Tensor;

/// $e = e_u + g (e_c - e_u)$ (arXiv:2207.12598), its deviation brought back towards that of $e_c$ by
/// the share $\varphi$ (arXiv:2305.08891, section 3.4):
/// $\varphi e \frac{std(e_c)}{std(e)} + (1-\varphi) e$, the deviation of each sample by itself.
pub fn guide(
    unconditional: Tensor<4>,
    conditional: Tensor<4>,
    scale: f64,
    rescale: f64,
) -> Tensor<4> {
    let difference = conditional.clone() - unconditional.clone();
    let guided = unconditional + difference.mul_scalar(scale);
    if rescale == 0.0 {
        return guided;
    }
    let deviation = |x: &Tensor<4>| {
        let batch = x.dims()[0];
        x.clone().flatten::<2>(1, 3).var(1).sqrt().reshape([batch, 1, 1, 1])
    };
    let ratio = deviation(&conditional) / deviation(&guided);
    guided.clone() * ratio.mul_scalar(rescale) + guided.mul_scalar(1.0 - rescale)
}
