//! The laws about what the toolkit does with adapters fail where it is at fault.

use std::collections::BTreeSet;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, FloatDType, Tensor},
};
use higanbana_adapters::{inject, registry};
use higanbana_core::{PathChoice, Slot, slot};

use super::{
    LAWS, Subject, Trial, dropout,
    layer::Model,
    measure::{deviation, exceeds},
    operations::{Adapters, Edited, Operations},
};

/// The laws that some adapter on a linear layer is found to break with this change.
fn broken(change: impl Fn(&mut Operations)) -> BTreeSet<&'static str> {
    let (registry, trial) = (registry(), &Trial::standard()[0]);
    let mut broken = BTreeSet::new();
    for subject in Subject::all(&registry, trial, &Device::default(), DType::F64) {
        let mut subject = subject.unwrap();
        change(&mut subject.operations);
        broken.extend(LAWS.iter().filter_map(|law| law.check(&subject).err()).map(|v| v.law));
    }
    broken
}

macro_rules! faults {
    ($($test:ident $operation:ident $fault:ident breaks $laws:expr;)*) => {
        $(#[test]
        fn $test() {
            let expected: &[&str] = &$laws;
            let broken = broken(|operations| operations.$operation = $fault);
            assert_eq!(broken, expected.iter().copied().collect());
        })*
    };
}

faults! {
    each_adapter_on_what_the_one_before_has_made weight compounded breaks ["stack"];
    only_the_last_adapter weight last breaks ["stack"];
    the_mean_of_the_adapters weight mean breaks ["stack"];
    a_weight_that_is_rounded_anew weight rounded breaks ["identity"];
    a_bias_that_is_touched attach touching_the_bias breaks ["merge", "layers"];
    a_strength_that_is_forgotten attach forgetting_the_strength breaks ["merge", "layers"];
    merging_that_forgets_the_adapter merge forgetting breaks ["merge"];
    merging_twice merge twice breaks ["merge"];
    merging_in_single_precision merge in_single_precision breaks ["merge"];
    an_adapter_that_is_never_quite_off set_strength never_quite_off breaks ["merge"];
    unmerging_by_subtraction set_strength subtracting breaks ["merge"];
    detaching_that_keeps_the_adapter detach keeping breaks ["merge"];
    own_layers_that_scale_the_bias act scaling_the_bias breaks ["layers", "dropout"];
    own_layers_that_scale_the_bias_by_definition act scaling_by_definition breaks ["layers", "dropout"];
    own_layers_that_scale_the_bias_on_the_shortcut act scaling_on_the_shortcut breaks ["layers", "dropout"];
    own_layers_that_scale_the_bias_if_they_choose act scaling_by_choice breaks ["layers"];
    a_first_adapter_that_is_left_out_where_it_subtracts weight without_subtracting_first breaks ["stack"];
    something_left_out_outside_of_training in_step always_training breaks ["dropout"];
}

#[test]
fn without_a_fault_no_law_is_broken() {
    assert_eq!(broken(|_| ()), BTreeSet::new());
}

fn compounded(slot: &Slot, w0: Tensor<2>) -> Tensor<2> {
    slot.members
        .iter()
        .fold(w0, |w, layer| w.clone() + layer.adapter.update_at(&slot.site, &w, layer.strength))
}

fn last(slot: &Slot, w0: Tensor<2>) -> Tensor<2> {
    let last = slot.members.last().expect("an adapter");
    w0.clone() + last.adapter.update_at(&slot.site, &w0, last.strength)
}

fn mean(slot: &Slot, w0: Tensor<2>) -> Tensor<2> {
    let update = slot.weight(w0.clone()) - w0.clone();
    w0 + update.div_scalar(slot.members.len() as f64)
}

fn rounded(slot: &Slot, w0: Tensor<2>) -> Tensor<2> {
    slot.weight(w0).mul_scalar(1.0 + f64::EPSILON)
}

fn touching_the_bias(model: &Model, set: &str, strength: f64, adapters: Adapters) -> Edited {
    inject::attach(&with_bias(model, 1.0 + 1e-9), set, strength, adapters)
}

fn forgetting_the_strength(model: &Model, set: &str, _strength: f64, adapters: Adapters) -> Edited {
    inject::attach(model, set, 1.0, adapters)
}

fn forgetting(model: &Model) -> Model {
    inject::merge(&slot::edit(model.clone(), |slot| slot.members.clear()))
}

fn twice(model: &Model) -> Model {
    inject::merge(&slot::edit(model.clone(), |slot| slot.members.extend(slot.members.clone())))
}

fn in_single_precision(model: &Model) -> Model {
    inject::merge(model).map(&mut Change { bias: 1.0, single_precision: true, depth: 0 })
}

fn never_quite_off(model: &Model, set: &str, strength: f64) -> Edited {
    inject::set_strength(model, set, strength.max(1e-9))
}

fn subtracting(model: &Model, set: &str, _strength: f64) -> Edited {
    let strength = slot::collect(model)[0].members[0].strength;
    inject::attach(&inject::merge(model), set, -strength, inject::adapters(model, set)?)
}

fn keeping(model: &Model, _set: &str) -> Edited {
    Ok(model.clone())
}

fn scaling_the_bias(model: &Model, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
    with_bias(model, 1.0 + 1e-9).act_as_own(subject, path)
}

fn scaling_on(
    model: &Model,
    subject: &Subject,
    path: PathChoice,
    on: PathChoice,
) -> Option<Vec<f64>> {
    let act = if path == on { scaling_the_bias } else { Model::act_as_own };
    act(model, subject, path)
}

fn scaling_by_definition(model: &Model, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
    scaling_on(model, subject, path, PathChoice::Definition)
}

fn scaling_on_the_shortcut(model: &Model, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
    scaling_on(model, subject, path, PathChoice::Shortcut)
}

fn scaling_by_choice(model: &Model, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
    scaling_on(model, subject, path, PathChoice::Auto)
}

fn without_subtracting_first(slot: &Slot, w0: Tensor<2>) -> Tensor<2> {
    let members = slot.members.iter().skip_while(|member| member.strength < 0.0).cloned().collect();
    Slot { members, ..slot.clone() }.weight(w0)
}

fn always_training(subject: &Subject, step: Option<u64>) -> Model {
    dropout::in_step(subject, step.or(Some(1)))
}

fn with_bias(model: &Model, factor: f64) -> Model {
    model.clone().map(&mut Change { bias: factor, single_precision: false, depth: 0 })
}

/// Changes parameters outside of adapters.
struct Change {
    bias: f64,
    single_precision: bool,
    depth: usize,
}

impl ModuleMapper for Change {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.depth += usize::from(container == "Reparameterization");
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.depth -= usize::from(container == "Reparameterization");
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.depth, D) {
            (0, 1) => param.map(|bias| bias.mul_scalar(self.bias)),
            (0, _) if self.single_precision => {
                param.map(|weight| weight.cast(FloatDType::F32).cast(FloatDType::F64))
            }
            _ => param,
        }
    }
}

#[test]
fn what_is_no_number_is_beyond_every_tolerance() {
    let numbers = [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for (i, x) in numbers.iter().enumerate() {
        let same = deviation(&[1.0, *x], &[1.0, *x]);
        assert_eq!(exceeds(same, f64::INFINITY), i > 0, "{x}");
        assert_eq!(exceeds(0.0, *x), x.is_nan() || *x < 0.0, "{x}");
    }
    assert!(exceeds(deviation(&[1.0], &[1.0, 0.0]), f64::INFINITY));
    assert_eq!(deviation(&[0.0], &[-0.0]), 0.0);
}
