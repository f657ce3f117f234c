//! New adapters, chosen by rules.

use std::collections::BTreeMap;

use burn::{
    module::Module,
    tensor::{DType, Tensor},
};
use higanbana_core::{Init, Kind, Member, Registry, Site, Training};
use serde::{Deserialize, Serialize};

use super::{
    FoundSite, InjectError, LayerKind, Preset, Rule, place::place, sets::check_strength, sites_like,
};

/// What to put into a model.
///
/// Where several rules have an algorithm for a parameter the last one wins, so general rules stand
/// first and exceptions below. Without rules every parameter is adapted that the algorithm adapts.
///
/// ```
/// use higanbana_adapters::inject::{Injection, LayerKind, Preset, Rule};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let injection = Injection::new("style", "lora")
///     .options(toml::toml! { rank = 16 alpha = 8.0 })
///     .preset(Preset::built_in("full")?)
///     .rule(Rule::default().layers([LayerKind::Conv]).options(toml::toml! { rank = 4 }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// Name of the new set of adapters. An injection may extend a set, on other parameters.
    pub set: String,
    /// Seed of the initial values; they also depend on the path of each layer.
    #[serde(default)]
    pub seed: u64,
    /// Strength $\mu$.
    #[serde(default = "one")]
    pub strength: f64,
    /// Name of the algorithm.
    pub algorithm: String,
    /// Its options, and those of [`Training`], which every algorithm has.
    #[serde(default)]
    pub options: toml::Table,
    /// What gets adapted, and what differently.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Structs of the model to treat as layers; see [`sites_like`].
    #[serde(default)]
    pub like: BTreeMap<String, LayerKind>,
}

fn one() -> f64 {
    1.0
}

impl Injection {
    /// An algorithm with its default options on everything that it adapts.
    pub fn new(set: impl Into<String>, algorithm: impl Into<String>) -> Self {
        Self {
            set: set.into(),
            seed: 0,
            strength: 1.0,
            algorithm: algorithm.into(),
            options: toml::Table::new(),
            rules: Vec::new(),
            like: BTreeMap::new(),
        }
    }

    /// With options.
    #[must_use]
    pub fn options(mut self, options: toml::Table) -> Self {
        self.options = options;
        self
    }

    /// With a seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With a strength.
    #[must_use]
    pub fn strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }

    /// With one more rule, which overrides those already there.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// With the rules of a preset.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.rules.extend(preset.rules);
        self
    }

    /// With a struct of the model treated as a layer.
    #[must_use]
    pub fn like(mut self, class: impl Into<String>, kind: LayerKind) -> Self {
        self.like.insert(class.into(), kind);
        self
    }
}

/// What an injection did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The adapted parameters, in the order of traversal.
    pub adapted: Vec<Adapted>,
}

/// One adapted parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    /// The parameter.
    pub site: Site,
    /// Name of its algorithm.
    pub algorithm: &'static str,
    /// Number of trained values.
    pub parameters: usize,
}

impl Report {
    /// Number of trained values of all adapters.
    pub fn parameters(&self) -> usize {
        self.adapted.iter().map(|adapted| adapted.parameters).sum()
    }
}

/// Puts new adapters into a model, whatever its layers are.
///
/// The result computes what the model computes until it is trained. Its own parameters are frozen:
/// only adapters train, those already there too, unless they are [frozen](super::freeze). The model
/// passed in is not changed; tensors are shared, not copied. In a model of half precision adapters are of
/// single precision, and [act](higanbana_core::DynAdapter::cast) as rounded.
///
/// # Errors
/// When a rule, a pattern or a class matches nothing, an algorithm or an option is unknown, an option
/// is wrong for a layer, or a parameter cannot take the adapter.
pub fn inject<M: Module>(
    model: &M,
    registry: &Registry,
    injection: &Injection,
) -> Result<(M, Report), InjectError> {
    check_strength(&injection.set, injection.strength)?;
    let found = sites_like(model, &injection.like);
    let rules = injection.parse(registry)?;
    for (index, chosen) in rules.iter().enumerate() {
        chosen.rule.check(index + 1, chosen.algorithm, &found)?;
    }
    let mut report = Report { adapted: Vec::new() };
    let mut new = Vec::new();
    for found in found {
        let Some(chosen) = rules.iter().rev().find(|chosen| chosen.takes(&found)) else {
            continue;
        };
        let mut init = Init::new(&found.site, precise(found.matrix()), injection.seed);
        let adapter = chosen.algorithm.build(&found.site, &chosen.options, &mut init)?;
        report.adapted.push(Adapted {
            site: found.site.clone(),
            algorithm: adapter.name(),
            parameters: adapter.parameter_count(&found.site),
        });
        let member = Member::new(&injection.set, injection.strength, adapter);
        new.push((found.parameter, found.site, member.training(chosen.training)));
    }
    Ok((place(model, new)?, report))
}

/// In single precision, if it is in half.
fn precise(matrix: Tensor<2>) -> Tensor<2> {
    match matrix.dtype() {
        DType::F16 | DType::BF16 => matrix.cast(DType::F32),
        _ => matrix,
    }
}

/// A rule with its algorithm and all of its options.
struct Chosen<'a> {
    rule: Rule,
    algorithm: &'a Kind,
    options: toml::Table,
    training: Training,
}

impl Chosen<'_> {
    fn takes(&self, found: &FoundSite) -> bool {
        self.algorithm.sites().contains(&found.site.kind) && self.rule.selects(found)
    }
}

impl Injection {
    /// Checks what needs no model: that algorithms and options are there, and options in range.
    ///
    /// # Errors
    /// When they are not, or an option means nothing for its algorithm.
    pub fn check(&self, registry: &Registry) -> Result<(), InjectError> {
        self.parse(registry).map(drop)
    }

    fn parse<'a>(&self, registry: &'a Registry) -> Result<Vec<Chosen<'a>>, InjectError> {
        let everything = [Rule::default()];
        let rules = if self.rules.is_empty() { &everything[..] } else { &self.rules };
        let parsed = rules.iter().map(|rule| {
            let name = rule.algorithm.as_ref().unwrap_or(&self.algorithm);
            let algorithm = registry.get(name).ok_or_else(|| InjectError::Algorithm {
                name: name.clone(),
                known: registry.iter().map(|kind| kind.name().into()).collect(),
            })?;
            let own = *name == self.algorithm;
            let mut options = if own { self.options.clone() } else { toml::Table::new() };
            options.extend(rule.options.clone());
            let (options, training) = algorithm.parse(&options)?;
            Ok(Chosen { rule: rule.clone(), algorithm, options, training })
        });
        parsed.collect()
    }
}
