//! Which parameters are trained at which rate: those of adapters, or, without them, all of the model's; and the
//! vectors of tokens.
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
//! their files (an adapter that ignores alpha writes the same), and [`Scaling`](crate::Scaling) has the initial values, rates and
//! hyperparameters that replace $\gamma$, or the reason why nothing does. The gradients are bounded by what their
//! norm would be there.

mod layers;

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};
use higanbana_core::{Degree, DynAdapter};

use crate::{
    Group, ModelOptimizer, Rule, TrainError, Unit,
    model::{Clip, parameters},
    network::{ENCODERS, Network, UNET},
    optimizers::{Settings, optimizer, optimizers},
    recipe::{Recipe, Train},
    scaling::{Sharing, alike},
    tokens::Token,
};

/// Groups of parameters, and what their initial values are multiplied by.
#[derive(Debug)]
pub struct Groups {
    rule: &'static Rule,
    /// Each with how its gradients are measured: as those of the published training.
    groups: Vec<(Group, Unit)>,
    /// The groups of that, which are the sets.
    published: Vec<Group>,
    members: HashMap<ParamId, usize>,
    factors: HashMap<ParamId, f64>,
    /// Tensors that are trained alike in the published training, with their factors, by its groups.
    alike: Vec<Vec<(String, f64)>>,
}

impl Groups {
    /// The groups of a network that has learnt these tokens; `published` is one that was made with the alpha
    /// to scale from.
    ///
    /// # Errors
    /// When the optimizer, one of its options or a pattern is unknown, or no training at this alpha is the
    /// published one.
    pub fn new(
        recipe: &Recipe,
        network: &Network,
        published: Option<&Network>,
        tokens: &[Token],
    ) -> Result<Self, TrainError> {
        let train = &recipe.train;
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
            let Some(known) = rule.hyperparameters.iter().find(|known| known.name == name) else {
                let known: Vec<_> = rule.hyperparameters.iter().map(|h| h.name).collect();
                let known = known.join(", ");
                return Err(wrong(format!(
                    "train.options: {} has no {name}; it has {known}",
                    rule.name
                )));
            };
            if let Some(right) = known.wants(*value) {
                return Err(wrong(format!("train.options.{name}: is {value}; give {right}")));
            }
            settings = settings.with(name, *value);
        }
        let mut rates = Rates { train, used: vec![false; train.blocks.len()] };
        let mut all = Self {
            rule,
            groups: Vec::new(),
            published: Vec::new(),
            members: HashMap::new(),
            factors: HashMap::new(),
            alike: Vec::new(),
        };
        match recipe.adapter {
            Some(_) => {
                let penalised = recipe.objective.orthogonality != 0.0;
                if published.is_some() && penalised {
                    let reason = "scale_from: objective.orthogonality is about the tensors themselves, whose \
                                  size changes; leave one of them out";
                    return Err(wrong(reason.into()));
                }
                all.adapters(network, published, &mut rates, &settings)?;
            }
            None if recipe.trains_model() => all.whole(network, &mut rates, &settings),
            None => {}
        }
        rates.all_used()?;
        all.tokens(network, tokens, &settings);
        for group in &all.alike {
            alike(rule, Sharing::Measured, group.iter().cloned())?;
        }
        Ok(all)
    }

    /// All parameters of a model.
    fn whole(&mut self, network: &Network, rates: &mut Rates, settings: &Settings) {
        let encoders = network.encoders.iter().map(parameters).zip(ENCODERS);
        for (found, prefix) in encoders.chain([(parameters(&network.unet), UNET)]) {
            for (id, path) in found {
                let layer = path.rsplit_once('.').map_or(&*path, |(layer, _)| layer);
                let rate = rates.of(prefix, layer);
                let group = Group { rate, settings: settings.clone() };
                self.join(id, path, group.clone(), group, 1.0);
            }
        }
    }

    /// The vectors of tokens, each at the rate of its own, which nothing changes.
    fn tokens(&mut self, network: &Network, tokens: &[Token], settings: &Settings) {
        for encoder in &network.encoders {
            for (vectors, token) in encoder.learnt().iter().zip(tokens) {
                let Some(rate) = token.rate else { continue };
                let group = Group { rate, settings: settings.clone() };
                self.join(vectors.id, token.token.clone(), group.clone(), group, 1.0);
            }
        }
    }

    /// The parameters of adapters.
    fn adapters(
        &mut self,
        network: &Network,
        published: Option<&Network>,
        rates: &mut Rates,
        settings: &Settings,
    ) -> Result<(), TrainError> {
        let train = rates.train;
        let rule = self.rule;
        let adapters = network.adapters()?;
        let layers = published.map(|published| layers::layers(&adapters, published)).transpose()?;
        for (index, (prefix, site, adapter)) in adapters.into_iter().enumerate() {
            let rate = rates.of(prefix, &site.path);
            let path = format!("{prefix}.{}", site.path);
            let degree = adapter.degree();
            let layer = layers.as_ref().map(|layers| &layers[index]);
            let scaling = layer.map(|layer| layer.scaling(rule, Sharing::Measured)).transpose()?;
            let trained = tensors(&adapter);
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
                if is_zero {
                    group.rate *= train.loraplus;
                }
                let (published, mut factor) = (group.clone(), 1.0);
                if let Some(scaling) = &scaling
                    && let Some(block) = scaling.block(&name)
                {
                    group.rate *= scaling.rate(block);
                    group.settings = scaling.settings(block, settings);
                    factor = scaling.blocks[block].factor;
                }
                self.join(id, format!("{path}.{name}"), group, published, factor);
            }
        }
        Ok(())
    }

    /// A tensor of this name in a group; in the published training it is in another, and `factor` times smaller.
    fn join(&mut self, id: ParamId, name: String, group: Group, published: Group, factor: f64) {
        let set = number(&mut self.published, published);
        self.alike.resize_with(self.published.len(), Vec::new);
        self.alike[set].push((name, factor));
        let unit = Unit { set, size: factor.recip() };
        self.members.insert(id, number(&mut self.groups, (group, unit)));
        if factor != 1.0 {
            self.factors.insert(id, factor);
        }
    }

    /// The network with its initial values scaled.
    pub fn start(&self, network: Network) -> Network {
        if self.factors.is_empty() { network } else { network.map(&mut Scale(&self.factors)) }
    }

    /// The optimizer.
    pub fn optimizer(&self, recipe: &Recipe) -> ModelOptimizer {
        let (groups, units): (Vec<Group>, Vec<Unit>) = self.groups.iter().cloned().unzip();
        let bounds = |bound: f64| units.iter().map(|unit| bound * unit.size).collect();
        let clip = recipe.train.clip.map(|bound| match recipe.train.clip_groups {
            true => Clip::Groups(bounds(bound)),
            false => Clip::Whole(bound),
        });
        let optimizer = ModelOptimizer::of(self.rule, &groups, self.members.clone());
        let optimizer = optimizer.measured(units);
        match clip {
            Some(clip) => optimizer.clipped(clip),
            None => optimizer,
        }
    }
}

/// The number of a value, a new one if there is none like it.
fn number<T: PartialEq>(known: &mut Vec<T>, new: T) -> usize {
    known.iter().position(|it| *it == new).unwrap_or_else(|| {
        known.push(new);
        known.len() - 1
    })
}

/// The rates of layers.
struct Rates<'a> {
    train: &'a Train,
    /// Which of the recipe's blocks have a layer.
    used: Vec<bool>,
}

impl Rates<'_> {
    /// The rate of a layer of the model that diffusers calls `prefix`.
    fn of(&mut self, prefix: &str, layer: &str) -> f64 {
        let rate = match self.train.text_encoder_rate {
            Some(rate) if prefix != UNET => rate,
            _ => self.train.rate,
        };
        let path = format!("{prefix}.{layer}");
        let matching = self.train.blocks.iter().zip(&mut self.used).rfind(|(block, _)| {
            block.paths.iter().any(|it| it.matches(layer) || it.matches(&path))
        });
        let Some((block, used)) = matching else { return rate };
        *used = true;
        rate * block.rate
    }

    fn all_used(&self) -> Result<(), TrainError> {
        let Some(unused) = self.used.iter().position(|used| !used) else { return Ok(()) };
        let paths: Vec<_> = self.train.blocks[unused].paths.iter().map(|p| p.as_str()).collect();
        Err(wrong(format!("train.blocks: no trained layer for {}", paths.join(", "))))
    }
}

fn wrong(reason: String) -> TrainError {
    TrainError::recipe("RUN.toml", reason)
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
fn tensors(adapter: &DynAdapter) -> Vec<Trained> {
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
