//! Whether an algorithm is a fixed subspace of updates.

use burn::tensor::Tensor;
use higanbana_core::{DynAdapter, Site, spectrum::frobenius, trained};

/// Rounding, in units of the updates.
const ROUNDING: f64 = 1e-12;

/// Whether $\Delta W$ is an affine function of the parameters $\theta$: for two of their values in general position
/// $$\Delta W(\theta_1) + \Delta W(\theta_2) = 2 \Delta W\big(\tfrac12(\theta_1 + \theta_2)\big).$$
/// A polynomial of another kind has this in no open set.
pub(super) fn is_affine(adapter: &DynAdapter, site: &Site, w0: &Tensor<2>, seed: u64) -> bool {
    let [a, b] = [1, 2].map(|k| trained::shaken(adapter.clone(), 0.5, 1000 * seed + k));
    let pairs = trained::values(&a).into_iter().zip(trained::values(&b));
    let middle: Vec<f64> = pairs.map(|(a, b)| 0.5 * (a + b)).collect();
    let middle = trained::with_values(adapter.clone(), &middle);
    let [a, b, middle] = [a, b, middle].map(|it| it.update_at(site, w0, 1.0));
    let size = frobenius(&a) + frobenius(&b);
    frobenius(&(a + b - middle.mul_scalar(2.0))) <= ROUNDING * size
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::subject::{Subject, layer};

    #[test]
    fn algorithms_that_are_linear_in_their_parameters_are_fixed_subspaces() {
        let device = Device::flex();
        let registry = higanbana_adapters::registry();
        let (site, w0) = layer(&[12, 8], &device, 0).unwrap();
        let all = Subject::all(&registry, true).into_iter().filter(|it| it.fits(&site));
        let affine = all.filter(|it| {
            it.of_rank(2).build(&site, &w0, 0).is_some_and(|new| is_affine(&new, &site, &w0, 0))
        });
        let labels: Vec<String> = affine.map(|it| it.label).collect();
        assert_eq!(labels, ["ia3", "ia3:on_input", "full"]);
    }
}
