//! Placing adapters on parameters.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, Param, Reparameterizer},
    tensor::Tensor,
};
use higanbana_core::{DynAdapter, Member, Site, SiteKind, Slot, nearest, slot};

use super::{
    InjectError,
    error::SHOWN,
    sets::check_strength,
    sites::{Parameter, REPARAMETERIZATION, parameters},
};

/// Puts adapters that exist already into a model: those of a file, or of another model.
///
/// As [`inject`](super::inject) it freezes the model's own parameters and leaves the model passed in
/// as it was. A site needs no layer that is known by name: any parameter `weight`, `gamma`, `beta` or
/// `bias` of its shape at its path takes the adapter.
///
/// # Errors
/// When the model has no such parameter, one of another shape, or one that cannot take the adapter.
pub fn attach<M: Module>(
    model: &M,
    set: &str,
    strength: f64,
    adapters: Vec<(Site, DynAdapter)>,
) -> Result<M, InjectError> {
    check_strength(set, strength)?;
    let parameters = parameters(model);
    let mut new = Vec::new();
    for (site, adapter) in adapters {
        let Some(parameter) = parameters.iter().find(|parameter| parameter.is(&site)) else {
            let paths = parameters.iter().map(|parameter| parameter.path.as_str());
            return Err(InjectError::Site {
                nearest: nearest(&site.path, paths, SHOWN),
                kind: site.kind.name(),
                path: site.path,
            });
        };
        let found = parameter.checkpoint_shape(site.kind);
        if found != site.shape {
            let (kind, expected) = (site.kind.name(), site.shape);
            return Err(InjectError::Shape { path: site.path, kind, found, expected });
        }
        new.push((parameter.clone(), site, Member::new(set, strength, adapter)));
    }
    place(model, new)
}

/// Path and kind tell the parameters of a model apart.
type Key = (String, SiteKind);

fn key(site: &Site) -> Key {
    (site.path.clone(), site.kind)
}

pub(super) fn place<M: Module>(
    model: &M,
    members: Vec<(Parameter, Site, Member)>,
) -> Result<M, InjectError> {
    let slots: HashMap<Key, Slot> =
        slot::collect(model).into_iter().map(|slot| (key(&slot.site), slot)).collect();
    let mut new_slots: HashMap<String, Slot> = HashMap::new();
    let mut new_members: HashMap<Key, Member> = HashMap::new();
    for (parameter, site, member) in members {
        let key = key(&site);
        let slot = slots.get(&key);
        if let (None, Some(other)) = (slot, parameter.reparameterization) {
            return Err(InjectError::Occupied { path: parameter.full_path, other });
        }
        let taken = slot
            .is_some_and(|slot| slot.members.iter().any(|other| other.set == member.set))
            || new_members.contains_key(&key)
            || new_slots.contains_key(&parameter.full_path);
        if taken {
            return Err(InjectError::Duplicate { path: site.path, set: member.set });
        }
        if slot.is_some() {
            new_members.insert(key, member);
        } else {
            let mut slot = Slot::new(site);
            slot.members.push(member);
            new_slots.insert(parameter.full_path, slot);
        }
    }
    let model = model.clone().map(&mut FreezeBase { depth: 0 });
    let model = model.apply_reparameterization(NewSlots(new_slots));
    Ok(slot::edit(model, |slot| slot.members.extend(new_members.remove(&key(&slot.site)))))
}

/// Freezes every parameter outside reparameterisations.
struct FreezeBase {
    depth: usize,
}

impl ModuleMapper for FreezeBase {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.depth += usize::from(container == REPARAMETERIZATION);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.depth -= usize::from(container == REPARAMETERIZATION);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.depth == 0 { param.set_require_grad(false) } else { param }
    }
}

/// Slots by the path of their parameter.
struct NewSlots(HashMap<String, Slot>);

impl Reparameterizer for NewSlots {
    type Reparam = Slot;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Slot>) {
        (param, self.0.remove(path))
    }
}
