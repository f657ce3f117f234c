//! Which parameters are trained at which rate.
//!
//! The rate of a tensor is that of its model (`rate`, `text_encoder_rate`), times the factor of the last rule
//! of `blocks` that matches its layer, times `loraplus` if it is a factor that starts from zero.
//!
//! LoRA+ (arXiv:2402.12354) lets $B$, which starts from zero, learn faster than $A$. What makes $B$ special is
//! not its name: an update of degree two or more starts from zero only if one of its factors does, and that
//! one is meant, whatever algorithm it belongs to. An update of one factor has no slower one, and one that starts
//! from zero as a difference no faster one: the ratio is refused there.
//!
//! With `scale_from`, a recipe for $\alpha'$ is trained at $\alpha$: $\frac{\alpha'}{r} T$ is
//! $\gamma \cdot \frac{\alpha}{r} T$ with $\gamma = \alpha'/\alpha$, the ratio of what adapters made with either write into
//! their files (an adapter that ignores alpha writes the same), and [`Scaling`] has the initial values, rates and
//! hyperparameters that replace $\gamma$, the bound on the gradients included.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};
use higanbana_core::{Degree, DynAdapter, Site};

use crate::{
    Group, ModelOptimizer, Rule, Scaling, TrainError,
    model::Clip,
    network::Network,
    optimizers::{optimizer, optimizers},
    recipe::Recipe,
};

/// Groups of parameters, and what their initial values are multiplied by.
#[derive(Debug)]
pub struct Groups {
    /// The optimizer.
    pub rule: &'static Rule,
    /// The groups.
    pub groups: Vec<Group>,
    /// What the bound on the gradients of each group is multiplied by.
    thresholds: Vec<f64>,
    members: HashMap<ParamId, usize>,
    factors: HashMap<ParamId, f64>,
}

impl Groups {
    /// The groups of a network; `published` is one that was made with the alpha to scale from.
    ///
    /// # Errors
    /// When the optimizer, one of its options or a pattern is unknown, or an adapter cannot be scaled.
    pub fn new(
        recipe: &Recipe,
        network: &Network,
        published: Option<&Network>,
    ) -> Result<Self, TrainError> {
        let train = &recipe.train;
        let wrong = |reason: String| TrainError::recipe("RUN.toml", reason);
        let rule = optimizer(&train.optimizer).ok_or_else(|| {
            let known: Vec<_> = optimizers().iter().map(|rule| rule.name).collect();
            wrong(format!(
                "train.optimizer: no {}; there are {}",
                train.optimizer,
                known.join(", ")
            ))
        })?;
        let mut settings = rule.settings();
        for (name, value) in &train.options {
            if !rule.hyperparameters.iter().any(|known| known.name == name) {
                let known: Vec<_> = rule.hyperparameters.iter().map(|h| h.name).collect();
                let known = known.join(", ");
                return Err(wrong(format!(
                    "train.options: {} has no {name}; it has {known}",
                    rule.name
                )));
            }
            settings = settings.with(name, *value);
        }
        let published = published.map(Network::adapters).transpose()?;
        let mut used = vec![false; train.blocks.len()];
        let mut all = Self {
            rule,
            groups: Vec::new(),
            thresholds: Vec::new(),
            members: HashMap::new(),
            factors: HashMap::new(),
        };
        for (index, (prefix, site, adapter)) in network.adapters()?.into_iter().enumerate() {
            let mut rate = match train.text_encoder_rate {
                Some(rate) if prefix != "unet" => rate,
                _ => train.rate,
            };
            let path = format!("{prefix}.{}", site.path);
            let matching = train.blocks.iter().zip(&mut used).rfind(|(block, _)| {
                block.paths.iter().any(|it| it.matches(&site.path) || it.matches(&path))
            });
            if let Some((block, used)) = matching {
                rate *= block.rate;
                *used = true;
            }
            let degree = adapter.degree();
            let gamma = match published.as_ref().map(|all| &all[index]) {
                None => None,
                Some((_, site, other)) => match (alpha(other, site), alpha(&adapter, site)) {
                    (Some(published), Some(own)) => Some(published / own).filter(|g| *g != 1.0),
                    _ => {
                        let name = adapter.name();
                        return Err(wrong(format!("scale_from: {name} has no alpha at {path}")));
                    }
                },
            };
            let scaling =
                gamma.map(|gamma| Scaling::for_gamma(&degree, rule, gamma)).transpose()?;
            let trained = trained(&adapter);
            let slower = factors(&degree) > 1 && trained.iter().any(|it| it.is_zero);
            if train.loraplus != 1.0 && !slower {
                let reason = format!(
                    "train.loraplus: {} has at {path} no factor that starts from zero beside another, so \
                     that none is to be faster",
                    adapter.name()
                );
                return Err(wrong(reason));
            }
            for Trained { id, name, is_zero } in trained {
                let mut group = Group { rate, settings: settings.clone() };
                let mut threshold = 1.0;
                if is_zero {
                    group.rate *= train.loraplus;
                }
                if let Some(scaling) = &scaling
                    && let Some(block) = scaling.block(&name)
                {
                    group.rate *= scaling.rate(block);
                    group.settings = scaling.settings(block, &settings);
                    threshold = scaling.threshold(block);
                    all.factors.insert(id, scaling.blocks[block].factor);
                }
                let number = all.number(group, threshold);
                all.members.insert(id, number);
            }
        }
        match used.iter().position(|used| !used) {
            Some(unused) => {
                let paths: Vec<_> = train.blocks[unused].paths.iter().map(|p| p.as_str()).collect();
                Err(wrong(format!("train.blocks: no adapted layer for {}", paths.join(", "))))
            }
            None => Ok(all),
        }
    }

    /// The number of a group, a new one if there is none like it.
    fn number(&mut self, group: Group, threshold: f64) -> usize {
        let same = |(known, bound): (&Group, &f64)| {
            known.rate == group.rate && known.settings == group.settings && *bound == threshold
        };
        self.groups.iter().zip(&self.thresholds).position(same).unwrap_or_else(|| {
            self.groups.push(group);
            self.thresholds.push(threshold);
            self.groups.len() - 1
        })
    }

    /// The network with its initial values scaled.
    pub fn start(&self, network: Network) -> Network {
        if self.factors.is_empty() { network } else { network.map(&mut Scale(&self.factors)) }
    }

    /// The optimizer.
    ///
    /// # Errors
    /// When all gradients have one bound, and scaling would give each group another.
    pub fn optimizer(&self, recipe: &Recipe) -> Result<ModelOptimizer, TrainError> {
        let optimizer = ModelOptimizer::of(self.rule, &self.groups, self.members.clone());
        let Some(bound) = recipe.train.clip else { return Ok(optimizer) };
        let bounds: Vec<f64> = self.thresholds.iter().map(|factor| bound * factor).collect();
        if recipe.train.clip_groups {
            return Ok(optimizer.clipped(Clip::Groups(bounds)));
        }
        match bounds[..] {
            [first, ..] if bounds.iter().all(|bound| *bound == first) => {
                Ok(optimizer.clipped(Clip::Whole(first)))
            }
            _ => Err(TrainError::recipe(
                "RUN.toml",
                "train.clip: scale_from scales the gradients of some tensors otherwise than those of \
                 others; set train.clip_groups",
            )),
        }
    }
}

/// Alpha, as an adapter's file has it.
fn alpha(adapter: &DynAdapter, site: &Site) -> Option<f64> {
    adapter.write(site).get("alpha")?.iter::<f64>().next()
}

/// Number of factors that an update is a product of.
fn factors(degree: &Degree) -> usize {
    match degree {
        Degree::Update(exponents) | Degree::Inside { exponents, .. } => {
            exponents.iter().filter(|(_, d)| *d > 0).count()
        }
        Degree::None { .. } => 1,
    }
}

struct Trained {
    id: ParamId,
    name: String,
    is_zero: bool,
}

/// The trained tensors of an adapter.
fn trained<M: Module>(adapter: &M) -> Vec<Trained> {
    let mut visit = Visit { path: Vec::new(), found: Vec::new() };
    adapter.visit(&mut visit);
    visit.found
}

struct Visit {
    path: Vec<String>,
    found: Vec<Trained>,
}

impl ModuleVisitor for Visit {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let index = |part: &&String| part.parse::<usize>().is_err();
        let name = self.path.iter().rfind(index).cloned().unwrap_or_default();
        let is_zero = param.val().into_data().iter::<f64>().all(|x| x == 0.0);
        self.found.push(Trained { id: param.id, name, is_zero });
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

struct Scale<'a>(&'a HashMap<ParamId, f64>);

impl ModuleMapper for Scale<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&factor) = self.0.get(&param.id) else { return param };
        param.map(|tensor| tensor.mul_scalar(factor).detach().require_grad())
    }
}
