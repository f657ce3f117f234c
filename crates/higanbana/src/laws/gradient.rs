use burn::module::Module;
use higanbana_core::trained;

use super::{
    Law, Subject,
    measure::{dot, exceeds, norm, values},
};

/// $\langle \nabla_\theta L, v \rangle$ is $\frac{8 (L_1 - L_{-1}) - (L_2 - L_{-2})}{12 h}$ with
/// $L_k = \langle C, W(\mu; \theta + k h v) \rangle$, for each trained tensor and a random direction
/// $v$ of it.
pub(super) const LAW: Law = Law {
    name: "gradient",
    statement: "the gradient of the weight by each trained tensor is that of central differences",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let step = 5.0 * subject.epsilon().cbrt();
    let tolerance = 100.0 * subject.epsilon().powf(2.0 / 3.0);
    let adapter = subject.trained.clone().train();
    let update =
        adapter.update_at(subject.site(), &subject.w0.clone().autodiff(), subject.trial.strength);
    let weights = subject.normal("cotangent", update.dims());
    let grads = (update.clone() * weights.clone().autodiff()).sum().backward();
    let weights = values(&weights);
    // The size of the terms whose sum is differenced: their rounding is all that is left of it.
    let size = norm(&weights) * norm(&values(&update));
    for (name, gradient) in trained::gradients(&adapter, &grads) {
        let direction = values(&subject.normal(&name, [gradient.len()]));
        let shifted = |steps: f64| {
            let adapter = trained::map(subject.trained.clone(), |other, x| {
                if other == name {
                    x.iter_mut().zip(&direction).for_each(|(x, v)| *x += steps * step * v);
                }
            });
            dot(&weights, &values(&subject.update(&adapter)))
        };
        let across = |steps: f64| shifted(steps) - shifted(-steps);
        let numeric = (8.0 * across(1.0) - across(2.0)) / (12.0 * step);
        let analytic = dot(&gradient, &direction);
        let error = (analytic - numeric).abs();
        if exceeds(error, tolerance * (norm(&gradient) * norm(&direction) + size)) {
            return Err(format!(
                "by {name}: {analytic:e} along a random direction, but {numeric:e} by differences"
            ));
        }
    }
    Ok(())
}
