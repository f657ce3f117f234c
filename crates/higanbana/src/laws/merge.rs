use super::{
    Law, Subject,
    layer::{Model, SET},
    measure::{deviation, exceeds},
};

/// On a model with a layer of Burn's own: the merged weight has the bits of the adapted one and acts
/// as it does; unmerged, that is switched off or detached, the model has the bits of the base again,
/// bias and all.
pub(super) const LAW: Law = Law {
    name: "merge",
    statement: "merged acts as adapted does, and unmerged the base has its bits again",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let base = Model::base(subject);
    let adapted = Model::adapted(subject);
    let merged = (subject.operations.merge)(&adapted);
    let defined = Model::new(subject, &(subject.w0.clone() + subject.update(&subject.trained)));
    let expected = defined.act(subject);
    for (state, model) in [("adapted", &adapted), ("merged", &merged)] {
        let error = deviation(&model.act(subject), &expected);
        if exceeds(error, subject.tolerance()) {
            return Err(format!("the {state} layer departs from W(μ) by {error:e}"));
        }
    }
    if merged.effective() != adapted.effective() {
        return Err("merging changes bits of the adapted weight".into());
    }
    let off = (subject.operations.set_strength)(&adapted, SET, 0.0);
    let detached = (subject.operations.detach)(&adapted, SET);
    for (state, model) in [("switched off", off), ("detached", detached)] {
        let model = model.map_err(|error| format!("it cannot be {state}: {error}"))?;
        if model.effective() != base.effective() {
            return Err(format!("{state}, it does not give the base's bits back"));
        }
    }
    Ok(())
}
