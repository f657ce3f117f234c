//! Trainings with one rule of the theorem broken.

use super::{
    Control, Start, THRESHOLD,
    control::SHOWN,
    course::{Course, PROBED},
    setup::Setup,
    task::{Adapted, Task},
};

/// A control that departs by more than this is broken off.
const ENOUGH: f64 = 10.0 * THRESHOLD;

/// The deviation with one rule broken, up to where it is large enough; a reason where the rule cannot
/// be broken.
pub(super) fn run<'n, T: Task>(
    control: Control,
    net: &'n Adapted<T>,
    setup: &Setup,
    reference: &mut Course<'n, T>,
) -> Result<f64, String> {
    control.applies(setup.rule)?;
    let steps = reference.updates.len();
    if control == Control::GlobalClip {
        return global_clip(net, setup, steps.min(SHOWN));
    }
    let course = Course::without_gamma(net, setup, Some(control));
    Ok(reference.compare(course, steps, Some(ENOUGH)).deviation())
}

/// Layers of unequal factors under one threshold: the best of several that one might think of still
/// departs. Where all layers have the same γ, the second half of them gets none.
fn global_clip<T: Task>(net: &Adapted<T>, setup: &Setup, steps: usize) -> Result<f64, String> {
    let n = net.sites.len();
    if n < 2 {
        return Err("it takes two layers to have unequal factors".into());
    }
    let mut layers = setup.layers.clone();
    if layers.iter().all(|a| *a == layers[0]) {
        layers[n / 2..].fill(1.0);
    }
    let scalings =
        net.scalings(setup.rule, &layers, Start::Noise).map_err(|error| error.to_string())?;
    let mut unequal = setup.whole(layers, scalings);
    let threshold = Course::with_gamma(net, &unequal).after(steps.min(PROBED)).sizes().whole;
    unequal.whole = Some(threshold);
    let mut reference = Course::with_gamma(net, &unequal);
    let a = unequal.factors.iter().copied().find(|a| *a != 1.0).unwrap_or(1.0);
    let deviations = [1.0, a.recip(), a.sqrt().recip()].map(|factor| {
        unequal.whole = Some(threshold * factor);
        let course = Course::without_gamma(net, &unequal, None);
        reference.compare(course, steps, Some(ENOUGH)).deviation()
    });
    Ok(deviations.into_iter().fold(f64::INFINITY, f64::min))
}
