//! Stepping a whole model: in groups with their own rates and hyperparameters, after a pass over all
//! gradients.
//!
//! Burn's `Optimizer` sees one tensor at a time, and its clipping by norm is per tensor. What needs the
//! norm of all gradients, such as true global clipping or normalised SGD, happens here.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    store::RecordError,
    tensor::{Bytes, Tensor},
};

use crate::{
    optimizers::{Engine, Rule, Settings},
    place::Place,
};

/// Parameters that are trained alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Learning rate.
    pub rate: f64,
    /// Hyperparameters.
    pub settings: Settings,
}

/// Bounds the norm of the gradients: $g \leftarrow g \min(1, \tau / \lVert g \rVert)$.
#[derive(Debug, Clone, PartialEq)]
pub enum Clip {
    /// Each group by itself, with a threshold of its own. With one group this is global clipping.
    Groups(Vec<f64>),
    /// All groups together.
    Whole(f64),
}

/// What a group carries from step to step.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupState {
    /// Tensors and counts of each parameter, as Burn writes them.
    pub bytes: Vec<u8>,
    /// What the parameters share.
    pub numbers: Vec<f64>,
}

/// An optimizer of a whole model.
#[derive(Clone)]
pub struct ModelOptimizer {
    members: HashMap<ParamId, usize>,
    groups: Vec<(f64, Engine)>,
    clip: Option<Clip>,
    units: Vec<Unit>,
    norms: Vec<f64>,
}

/// How the gradients of a group are measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// Groups of one set are bounded, and normalised, as if they were one.
    pub set: usize,
    /// What its gradients are divided by to be measured beside those of the others.
    pub size: f64,
}

impl ModelOptimizer {
    /// An optimizer of `model`; `choose` says to which group a parameter belongs, by its path.
    ///
    /// # Panics
    /// When `choose` names a group that there is not.
    pub fn new<M: Module>(
        model: &M,
        rule: &Rule,
        groups: &[Group],
        mut choose: impl FnMut(&str) -> usize,
    ) -> Self {
        let members = parameters(model).into_iter().map(|(id, path)| (id, choose(&path)));
        Self::of(rule, groups, members.collect())
    }

    /// The same for parameters by their ids, each with the number of its group.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn of(rule: &Rule, groups: &[Group], members: HashMap<ParamId, usize>) -> Self {
        assert!(members.values().all(|&group| group < groups.len()), "a group that there is not");
        let units = (0..groups.len()).map(|set| Unit { set, size: 1.0 }).collect();
        let groups = groups.iter().map(|g| (g.rate, (rule.build)(&g.settings))).collect();
        Self { members, groups, clip: None, units, norms: Vec::new() }
    }

    /// With clipping.
    ///
    /// # Panics
    /// When there is not one threshold for each group.
    #[must_use]
    pub fn clipped(self, clip: Clip) -> Self {
        if let Clip::Groups(thresholds) = &clip {
            assert_eq!(thresholds.len(), self.groups.len(), "one threshold for each group");
        }
        Self { clip: Some(clip), ..self }
    }

    /// With a unit for the gradients of each group; else each is a set of its own, and of size 1.
    ///
    /// # Panics
    /// When there is not one for each group.
    #[must_use]
    pub fn measured(self, units: Vec<Unit>) -> Self {
        assert_eq!(units.len(), self.groups.len(), "one unit for each group");
        Self { units, ..self }
    }

    /// Norms of the gradients of each group in the last step, before clipping.
    pub fn norms(&self) -> &[f64] {
        &self.norms
    }

    /// One step, with the learning rate of every group multiplied by `schedule`.
    pub fn step<M: Module>(&mut self, schedule: f64, model: M, gradients: GradientsParams) -> M {
        let squares = vec![0.0; self.groups.len()];
        let mut norms = Norms { members: &self.members, gradients: &gradients, squares };
        model.visit(&mut norms);
        self.norms = norms.squares.iter().map(|square| square.sqrt()).collect();
        let factors = self.factors();
        let Self { members, groups, .. } = self;
        let model = model.map(&mut Step { schedule, members, groups, factors, gradients });
        self.groups
            .iter()
            .filter_map(|(_, engine)| engine.common.as_ref())
            .for_each(|common| common.after());
        model
    }

    /// What each group carries from step to step, as bytes and numbers.
    ///
    /// # Errors
    /// When Burn cannot write a state.
    pub fn state(&self) -> Result<Vec<GroupState>, RecordError> {
        let state = |(_, engine): &(f64, Engine)| {
            let numbers = engine.common.as_ref().map(|common| common.numbers());
            Ok(GroupState {
                bytes: engine.step.into_bytes()?.to_vec(),
                numbers: numbers.unwrap_or_default(),
            })
        };
        self.groups.iter().map(state).collect()
    }

    /// Takes up such a state again: the parameters need the ids that they had.
    ///
    /// # Errors
    /// When a state cannot be read.
    pub fn restored(mut self, states: Vec<GroupState>) -> Result<Self, RecordError> {
        for ((_, engine), state) in self.groups.iter_mut().zip(states) {
            engine.step = engine.step.clone().from_bytes(Bytes::from_bytes_vec(state.bytes))?;
            if let Some(common) = &engine.common {
                common.restore(&state.numbers);
            }
        }
        Ok(self)
    }

    /// What the gradients of each group are multiplied by.
    fn factors(&self) -> Vec<f64> {
        let norms: Vec<f64> = (0..self.norms.len()).map(|group| self.norm_of_set(group)).collect();
        let clips: Vec<f64> = match &self.clip {
            None => vec![1.0; norms.len()],
            Some(Clip::Groups(thresholds)) => {
                norms.iter().zip(thresholds).map(|(norm, t)| bounded(*norm, *t)).collect()
            }
            Some(Clip::Whole(threshold)) => {
                vec![bounded(self.norm(|_| true), *threshold); norms.len()]
            }
        };
        let normalised = self.groups.iter().zip(&norms).zip(clips);
        normalised
            .map(|(((_, engine), norm), clip)| match engine.normalise {
                // Gradients of zero have no direction.
                Some(eps) if norm * clip + eps > 0.0 => clip / (norm * clip + eps),
                _ => clip,
            })
            .collect()
    }

    /// The norm of the gradients of some sets, of size 1.
    fn norm(&self, counts: impl Fn(usize) -> bool) -> f64 {
        let pairs = self.norms.iter().zip(&self.units).filter(|(_, unit)| counts(unit.set));
        pairs.map(|(norm, unit)| (norm / unit.size).powi(2)).sum::<f64>().sqrt()
    }

    /// The norm of the gradients of the set of a group, of the size of that group.
    fn norm_of_set(&self, group: usize) -> f64 {
        let Unit { set, size } = self.units[group];
        match self.units.iter().filter(|unit| unit.set == set).count() {
            1 => self.norms[group],
            _ => size * self.norm(|other| other == set),
        }
    }
}

fn bounded(norm: f64, threshold: f64) -> f64 {
    if norm > threshold { threshold / norm } else { 1.0 }
}

/// Sums of the squares of the gradients of each group.
struct Norms<'a> {
    members: &'a HashMap<ParamId, usize>,
    gradients: &'a GradientsParams,
    squares: Vec<f64>,
}

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(&group) = self.members.get(&param.id) else { return };
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let square = gradient.square().sum().into_data();
        self.squares[group] += square.iter::<f64>().sum::<f64>();
    }
}

/// Steps each parameter by its group, its gradient multiplied by the factor of the group. A parameter
/// is a module of its own, so that one traversal serves any number of groups.
struct Step<'a> {
    schedule: f64,
    members: &'a HashMap<ParamId, usize>,
    groups: &'a mut [(f64, Engine)],
    factors: Vec<f64>,
    gradients: GradientsParams,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&group) = self.members.get(&param.id) else { return param };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let factor = self.factors[group];
        let scaled = if factor == 1.0 { gradient } else { gradient.mul_scalar(factor) };
        let mut own = GradientsParams::new();
        own.register(param.id, scaled);
        let (rate, engine) = &mut self.groups[group];
        engine.step.step(*rate * self.schedule, param, own)
    }
}

/// Every parameter of a model with its path, in which names of enum variants have no part.
pub fn parameters<M: Module>(model: &M) -> Vec<(ParamId, String)> {
    let mut paths = Paths::default();
    model.visit(&mut paths);
    paths.found
}

#[derive(Default)]
struct Paths {
    place: Place,
    found: Vec<(ParamId, String)>,
}

impl ModuleVisitor for Paths {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((param.id, self.place.path()));
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        self.place.exit(container);
    }
}
