use burn::{
    module::{Module, Param, Reparameterizer},
    tensor::Tensor,
};
use higanbana_core::{Layer as Adapted, PathChoice, Slot, slot};

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
    let adapted = base.clone().apply_reparameterization(Attach(Slot {
        site: subject.site().clone(),
        layers: vec![Adapted {
            set: "merge".into(),
            strength: subject.trial.strength,
            adapter: subject.trained.clone(),
        }],
        path: PathChoice::Auto,
    }));
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
    let off = slot::edit(adapted, |slot| slot.layers[0].strength = 0.0);
    if off.effective(kind) != base.effective(kind) {
        return Err("switched off, it does not give the base's bits back".into());
    }
    Ok(())
}

/// Puts a slot on the one parameter that it is for.
struct Attach(Slot);

impl Reparameterizer for Attach {
    type Reparam = Slot;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Slot>) {
        let here = path.ends_with(Layer::parameter(self.0.site.kind));
        (param.set_require_grad(false), here.then(|| self.0.clone()))
    }
}
