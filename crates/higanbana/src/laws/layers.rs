use higanbana_core::PathChoice;

use super::{
    Law, Subject,
    layer::Model,
    measure::{deviation, exceeds},
};

/// $y = op(x, W(\mu)) + b$ with the untouched bias, in a layer of Burn's and in ours on both paths.
pub(super) const LAW: Law = Law {
    name: "layers",
    statement: "this toolkit's layers act as Burn's on both paths, and leave the bias alone",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let defined = Model::new(subject, &(subject.w0.clone() + subject.update(&subject.trained)));
    let expected = defined.act(subject);
    let adapted = Model::adapted(subject);
    for path in [PathChoice::Definition, PathChoice::Shortcut, PathChoice::Auto] {
        let Some(output) = (subject.operations.act)(&adapted, subject, path) else { return Ok(()) };
        let error = deviation(&output, &expected);
        if exceeds(error, subject.tolerance()) {
            return Err(format!("the layer on path {path:?} departs from W(μ) by {error:e}"));
        }
    }
    Ok(())
}
