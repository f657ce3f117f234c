//! How adapters sit on a Burn parameter.
//!
//! Burn keeps one reparameterisation for each parameter and silently drops a second. Ours is a
//! [`Slot`], which holds a stack: each adapter acts on the untouched base, so that order never
//! matters,
//! $$W = W_0 + \sum_i \big(W_i(\mu_i) - W_0\big).$$

use std::cell::RefCell;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Reparameterization},
    tensor::{Device, Tensor},
};

use crate::{Acting, Condition, DynAdapter, Member, Site};

/// Which of its two forward paths a layer that has both takes; every other layer has the first only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathChoice {
    /// The cheaper one for the input at hand.
    #[default]
    Auto,
    /// Builds the effective weight.
    Definition,
    /// Acts on features, where the adapters can.
    Shortcut,
}

/// The stack of adapters on one parameter.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The parameter.
    pub site: Site,
    /// Its adapters.
    pub members: Vec<Member>,
    /// How the layer computes its output.
    pub path: PathChoice,
}

impl Slot {
    /// A slot without adapters.
    pub fn new(site: Site) -> Self {
        Self { site, members: Vec::new(), path: PathChoice::Auto }
    }

    /// Adapters that are not switched off.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.strength != 0.0)
    }

    /// The same as they act in this forward pass, for the base `w0`.
    pub fn acting(&self, w0: &Tensor<2>) -> impl Iterator<Item = Acting<'_>> {
        self.active().filter_map(|member| member.acting(&self.site, w0))
    }

    /// The effective weight for the base `w0`, both `[out, in·K]`.
    pub fn weight(&self, w0: Tensor<2>) -> Tensor<2> {
        self.acting(&w0).fold(w0.clone(), |weight, acting| weight + acting.update(&self.site, &w0))
    }
}

impl Reparameterization for Slot {
    const NAME: &'static str = "adapters";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        if self.active().next().is_none() {
            return base;
        }
        self.site.from_matrix(self.weight(self.site.to_matrix(base)))
    }
}

/// Every slot of a model, in the order of traversal.
pub fn collect<M: Module>(model: &M) -> Vec<Slot> {
    TRAVERSAL.with_borrow_mut(|traversal| *traversal = Traversal::Collect(Vec::new()));
    model.clone().map(&mut Keep);
    match TRAVERSAL.take() {
        Traversal::Collect(slots) => slots,
        _ => unreachable!("nothing else runs on this thread meanwhile"),
    }
}

/// Changes every slot of a model.
pub fn edit<M: Module>(model: M, mut change: impl FnMut(&mut Slot)) -> M {
    let mut slots = collect(&model);
    slots.iter_mut().for_each(&mut change);
    slots.reverse();
    TRAVERSAL.with_borrow_mut(|traversal| *traversal = Traversal::Replace(slots));
    let model = model.map(&mut Keep);
    TRAVERSAL.take();
    model
}

/// Tells every adapter of a model the circumstances of its next forward passes.
pub fn condition<M: Module>(model: M, condition: &Condition) -> M {
    edit(model, |slot| {
        slot.members.iter_mut().for_each(|member| member.condition(condition));
    })
}

/// What a traversal does with the slots that it meets. Burn shows a mapper the parameters inside a
/// reparameterisation but not the reparameterisation itself, so this lies beside the traversal, on
/// its thread, while it runs.
#[derive(Default)]
enum Traversal {
    #[default]
    Plain,
    Collect(Vec<Slot>),
    /// Replacements, the next one last.
    Replace(Vec<Slot>),
}

thread_local! {
    static TRAVERSAL: RefCell<Traversal> = RefCell::default();
}

struct Keep;

impl ModuleMapper for Keep {}

impl Module for Slot {
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let slot = TRAVERSAL.with_borrow_mut(|traversal| match traversal {
            Traversal::Plain => Err(self),
            Traversal::Collect(slots) => {
                slots.push(self.clone());
                Ok(self)
            }
            Traversal::Replace(slots) => Ok(slots.pop().unwrap_or(self)),
        });
        match slot {
            Ok(slot) => slot,
            Err(slot) => slot.each(|index, adapter| {
                mapper.enter_module(index, "Vec");
                let adapter = adapter.map(mapper);
                mapper.exit_module(index, "Vec");
                adapter
            }),
        }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (index, member) in self.members.iter().enumerate() {
            visitor.enter_module(&index.to_string(), "Vec");
            member.adapter.visit(visitor);
            visitor.exit_module(&index.to_string(), "Vec");
        }
    }

    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.members.iter().fold(devices, |all, member| member.adapter.collect_devices(all))
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|_, adapter| adapter.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(|_, adapter| adapter.to_device(device))
    }

    fn train(self) -> Self {
        self.each(|_, adapter| adapter.train())
    }

    fn valid(&self) -> Self {
        self.clone().each(|_, adapter| adapter.valid())
    }

    fn materialize(self) -> Self {
        self
    }
}

impl Slot {
    fn each(mut self, mut change: impl FnMut(&str, DynAdapter) -> DynAdapter) -> Self {
        for (index, member) in self.members.iter_mut().enumerate() {
            member.adapter = change(&index.to_string(), member.adapter.clone());
        }
        self
    }
}
