use burn::module::Module;
use higanbana_core::slot;

use super::{Law, Subject, layer::Layer, measure::deviation};

/// On a layer of Burn's own: the merged weight has the bits of the adapted one and acts as it does;
/// switched off, the adapter leaves the bits of the base.
pub(super) const LAW: Law = Law {
    name: "merge",
    statement: "merged acts as adapted does, and switched off the base has its bits again",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let kind = subject.site().kind;
    let base = Layer::new(subject, &subject.w0);
    let adapted = Layer::adapted(subject);
    let merged = adapted.clone().materialize();
    let defined = Layer::new(subject, &(subject.w0.clone() + subject.update(&subject.trained)));
    let expected = defined.act(subject);
    for (state, layer) in [("adapted", &adapted), ("merged", &merged)] {
        let error = deviation(&layer.act(subject), &expected);
        if error > subject.tolerance() {
            return Err(format!("the {state} layer departs from W(μ) by {error:e}"));
        }
    }
    if merged.effective(kind) != adapted.effective(kind) {
        return Err("merging changes bits of the adapted weight".into());
    }
    let off = slot::edit(adapted, |slot| slot.members[0].strength = 0.0);
    if off.effective(kind) != base.effective(kind) {
        return Err("switched off, it does not give the base's bits back".into());
    }
    Ok(())
}
