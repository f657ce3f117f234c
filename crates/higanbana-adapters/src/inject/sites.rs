//! What in a model can be adapted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use higanbana_core::{Site, SiteKind};
use serde::{Deserialize, Serialize};

/// Kind of a layer, as rules select by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// A linear layer, its weight stored as Burn does: `[in, out]`.
    Linear,
    /// A convolution with a kernel of one tap.
    Pointwise,
    /// A convolution with more than one tap.
    Conv,
    /// A normalisation layer with a scale.
    Norm,
}

impl LayerKind {
    /// Name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Pointwise => "pointwise",
            Self::Conv => "conv",
            Self::Norm => "norm",
        }
    }
}

/// The structs that are known by name: Burn's, and those of [`crate::layers`], which share names.
const STRUCTS: [(&str, LayerKind); 9] = [
    ("Linear", LayerKind::Linear),
    ("Conv1d", LayerKind::Conv),
    ("Conv2d", LayerKind::Conv),
    ("Conv3d", LayerKind::Conv),
    ("LayerNorm", LayerKind::Norm),
    ("GroupNorm", LayerKind::Norm),
    ("RmsNorm", LayerKind::Norm),
    ("InstanceNorm", LayerKind::Norm),
    ("BatchNorm", LayerKind::Norm),
];

/// A parameter that can be adapted.
#[derive(Debug, Clone)]
pub struct FoundSite {
    /// Where and what it is. Names of enum variants are not part of its path.
    pub site: Site,
    /// Kind of the layer that it belongs to.
    pub layer: LayerKind,
    pub(super) parameter: Parameter,
}

impl FoundSite {
    /// Names of the structs that contain the parameter, the outermost first.
    pub fn classes(&self) -> &[String] {
        &self.parameter.classes
    }

    /// The base weight as the matrix `[out, in·K]`, untracked. A lazy parameter is initialised here.
    pub fn matrix(&self) -> Tensor<2> {
        self.parameter.matrix(&self.site)
    }
}

/// Every parameter of linear layers, convolutions and norms, in the order of traversal. What lies
/// inside a reparameterisation is not part of it.
pub fn sites<M: Module>(model: &M) -> Vec<FoundSite> {
    sites_like(model, &BTreeMap::new())
}

/// As [`sites`], with structs of your own that hold their parameters as Burn's layers do: `like`
/// gives their names and what to treat them as (of [`LayerKind::Pointwise`] and
/// [`LayerKind::Conv`] either will do: the shape tells).
pub fn sites_like<M: Module>(model: &M, like: &BTreeMap<String, LayerKind>) -> Vec<FoundSite> {
    let mut found: Vec<FoundSite> = parameters(model)
        .into_iter()
        .filter_map(|parameter| {
            let class = parameter.layer_class.as_deref()?;
            let known = || STRUCTS.iter().find(|(name, _)| *name == class).map(|(_, kind)| *kind);
            let layer = like.get(class).copied().or_else(known)?;
            let kind = site_kind(layer, &parameter.field, parameter.shape.len())?;
            let site = Site::new(&*parameter.path, kind, parameter.checkpoint_shape(kind));
            Some(FoundSite { site, layer, parameter })
        })
        .collect();
    let pointwise: BTreeSet<String> = found
        .iter()
        .filter(|found| is_convolution(found.site.kind) && !found.site.has_taps())
        .map(|found| found.site.path.clone())
        .collect();
    for found in &mut found {
        if matches!(found.layer, LayerKind::Conv | LayerKind::Pointwise) {
            let one_tap = pointwise.contains(&found.site.path);
            found.layer = if one_tap { LayerKind::Pointwise } else { LayerKind::Conv };
        }
    }
    found
}

fn is_convolution(kind: SiteKind) -> bool {
    matches!(kind, SiteKind::Conv1d | SiteKind::Conv2d | SiteKind::Conv3d)
}

/// What a field of a layer is.
fn site_kind(layer: LayerKind, field: &str, rank: usize) -> Option<SiteKind> {
    match (layer, field, rank) {
        (LayerKind::Linear, "weight", 2) => Some(SiteKind::Linear),
        (LayerKind::Pointwise | LayerKind::Conv, "weight", 3..=5) => SiteKind::of_rank(rank),
        (LayerKind::Norm, "gamma" | "weight", 1) => Some(SiteKind::Norm),
        (LayerKind::Norm, "beta" | "bias", 1) => Some(SiteKind::NormBias),
        (_, "bias", 1) => Some(SiteKind::Bias),
        _ => None,
    }
}

/// A float parameter of a model, whatever it is.
#[derive(Clone)]
pub(super) struct Parameter {
    /// Path of the module that holds it.
    pub path: String,
    /// Its own name there.
    pub field: String,
    /// Path as Burn's mappers have it: with the names of enum variants and its own.
    pub full_path: String,
    /// Names of the structs around it, the outermost first.
    pub classes: Vec<String>,
    /// Name of the struct whose field it is.
    pub layer_class: Option<String>,
    /// Shape as Burn has it.
    pub shape: Vec<usize>,
    /// Name of the reparameterisation that it has.
    pub reparameterization: Option<String>,
    base: Arc<dyn Fn(&Site) -> Tensor<2> + Send + Sync>,
}

impl Parameter {
    /// Whether this is the parameter that `site` speaks of, by path and name.
    pub fn is(&self, site: &Site) -> bool {
        self.path == site.path
            && [LayerKind::Linear, LayerKind::Conv, LayerKind::Norm]
                .into_iter()
                .any(|layer| site_kind(layer, &self.field, self.shape.len()) == Some(site.kind))
    }

    /// The base weight as the matrix `[out, in·K]`, untracked.
    pub fn matrix(&self, site: &Site) -> Tensor<2> {
        (self.base)(site)
    }

    /// Shape as checkpoints have it.
    pub fn checkpoint_shape(&self, kind: SiteKind) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if kind == SiteKind::Linear {
            shape.reverse();
        }
        shape
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parameter").field(&self.full_path).field(&self.shape).finish()
    }
}

/// Every float parameter of a model outside reparameterisations.
pub(super) fn parameters<M: Module>(model: &M) -> Vec<Parameter> {
    let mut discovery = Discovery::default();
    model.visit(&mut discovery);
    discovery.found
}

/// The container that Burn reports around the parameters of a reparameterisation.
pub(super) const REPARAMETERIZATION: &str = "Reparameterization";

#[derive(Default)]
struct Discovery {
    /// Name and container of every step from the root.
    steps: Vec<(String, String)>,
    /// Number of reparameterisations that the traversal is inside of.
    depth: usize,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Discovery {
    fn enter_module(&mut self, name: &str, container: &str) {
        if container == REPARAMETERIZATION {
            if let (0, Some(last)) = (self.depth, self.found.last_mut()) {
                last.reparameterization = Some(name.into());
            }
            self.depth += 1;
        }
        self.steps.push((name.into(), container.into()));
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.depth -= usize::from(container == REPARAMETERIZATION);
        self.steps.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (0, Some(((field, container), above))) = (self.depth, self.steps.split_last()) else {
            return;
        };
        let names = |steps: &[(String, String)], variants: bool| {
            let kept = steps.iter().filter(|(_, c)| variants || !c.starts_with("Enum:"));
            kept.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
        };
        let class = |container: &str| container.strip_prefix("Struct:").map(String::from);
        let param = param.clone();
        self.found.push(Parameter {
            path: names(above, false),
            field: field.clone(),
            full_path: names(&self.steps, true),
            classes: self.steps.iter().filter_map(|(_, container)| class(container)).collect(),
            layer_class: class(container),
            shape: param.lazy_shape().as_slice().to_vec(),
            reparameterization: None,
            base: Arc::new(move |site| site.to_matrix(param.base().set_require_grad(false))),
        });
    }
}
