use burn::module::Module;

use super::{
    Law, Subject,
    measure::{dot, norm, values},
    trained,
};

/// $\langle \nabla_\theta L, v \rangle = \frac{L(\theta + hv) - L(\theta - hv)}{2h}$ for
/// $L = \langle C, W(\mu) \rangle$, each trained tensor, and a random direction $v$ of it.
pub(super) const LAW: Law = Law {
    name: "gradient",
    statement: "the gradient of the weight by each trained tensor is that of central differences",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let step = subject.epsilon().cbrt();
    let tolerance = 100.0 * step * step;
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
        let shifted = |step: f64| {
            let adapter = trained::map(subject.trained.clone(), |other, x| {
                if other == name {
                    x.iter_mut().zip(&direction).for_each(|(x, v)| *x += step * v);
                }
            });
            dot(&weights, &values(&subject.update(&adapter)))
        };
        let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
        let analytic = dot(&gradient, &direction);
        let error = (analytic - numeric).abs() / (norm(&gradient) * norm(&direction) + size);
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "by {name}: {analytic:e} along a random direction, but {numeric:e} by differences"
            ));
        }
    }
    Ok(())
}
