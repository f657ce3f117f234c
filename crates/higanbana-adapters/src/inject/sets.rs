//! The sets of adapters in a model: to list, switch, save, remove and merge.

use burn::module::Module;
use higanbana_core::{DynAdapter, Member, Site, slot};

use super::InjectError;

/// Names of the sets in a model, in the order in which they were placed.
pub fn sets<M: Module>(model: &M) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for member in slot::collect(model).into_iter().flat_map(|slot| slot.members) {
        if !names.contains(&member.set) {
            names.push(member.set);
        }
    }
    names
}

/// The adapters of a set with their parameters, to be saved or [attached](super::attach) elsewhere.
///
/// # Errors
/// When the model has no such set.
pub fn adapters<M: Module>(model: &M, set: &str) -> Result<Vec<(Site, DynAdapter)>, InjectError> {
    known(model, set)?;
    let slots = slot::collect(model).into_iter();
    let adapters = slots.flat_map(|slot| {
        let members = slot.members.into_iter().filter(|member| member.set == set);
        members.map(move |member| (slot.site.clone(), member.adapter))
    });
    Ok(adapters.collect())
}

/// Sets the strength $\mu$ of a set: 0 is off, 1 as trained; it may be negative.
///
/// # Errors
/// When the model has no such set or the strength is not finite.
pub fn set_strength<M: Module>(model: &M, set: &str, strength: f64) -> Result<M, InjectError> {
    check_strength(set, strength)?;
    each(model, set, |member| member.strength = strength)
}

/// Freezes the adapters of a set: it goes on acting, and another one trains on top of it.
///
/// # Errors
/// When the model has no such set.
pub fn freeze<M: Module>(model: &M, set: &str) -> Result<M, InjectError> {
    each(model, set, |member| member.adapter = member.adapter.clone().set_require_grad(false))
}

/// Removes a set. Where it was alone the parameter is the base again, bit for bit. The base stays
/// frozen.
///
/// # Errors
/// When the model has no such set.
pub fn detach<M: Module>(model: &M, set: &str) -> Result<M, InjectError> {
    known(model, set)?;
    Ok(slot::edit(model.clone(), |slot| slot.members.retain(|member| member.set != set)))
}

/// The model with all adapters folded into its weights at their strengths, for inference.
///
/// There is nothing to undo it with and no need to: the adapted model still has the untouched base,
/// so *unmerging* is to go on with that one, [switched off](set_strength) or [detached](detach),
/// exact to the bit. (Subtracting an update from merged weights would leave its rounding behind.)
pub fn merge<M: Module>(model: &M) -> M {
    model.valid().materialize()
}

pub(super) fn check_strength(set: &str, strength: f64) -> Result<(), InjectError> {
    if strength.is_finite() {
        return Ok(());
    }
    Err(InjectError::Strength { set: set.into(), strength })
}

fn each<M: Module>(
    model: &M,
    set: &str,
    mut change: impl FnMut(&mut Member),
) -> Result<M, InjectError> {
    known(model, set)?;
    Ok(slot::edit(model.clone(), |slot| {
        slot.members.iter_mut().filter(|member| member.set == set).for_each(&mut change);
    }))
}

fn known<M: Module>(model: &M, set: &str) -> Result<(), InjectError> {
    let known = sets(model);
    if known.iter().any(|name| name == set) {
        return Ok(());
    }
    Err(InjectError::Set { set: set.into(), known })
}
