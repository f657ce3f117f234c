//! Adapter files on a pipeline's models.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use higanbana_adapters::inject::{FoundSite, InjectError, attach, sets, sites};
use higanbana_core::{DynAdapter, Registry, Site};
use higanbana_io::{
    AdapterReader, Leftover, Names,
    apply::{ApplyError, ModuleReader, Parameter, stems},
    names::Component,
};

use super::Pipeline;
use crate::{
    ModelError,
    weights::{Tensor, table},
};

/// What of a file acts.
#[derive(Debug)]
pub struct Attached {
    /// The name of their set: the file's path, with a number where the file acts already.
    pub set: String,
    /// Number of modules.
    pub modules: usize,
    /// Number of weights and biases that they adapt.
    pub parameters: usize,
    /// What has no place in the models.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

/// The adapters of a file, by the model that they belong to.
type Found = BTreeMap<Component, Vec<(Site, DynAdapter)>>;

/// Puts the adapters of a file onto a pipeline, at a strength, beside those already there. They can
/// be taken off again by the name of their [set](Attached::set).
///
/// # Errors
/// When the file cannot be read, none of it fits, or its adapters contradict the models.
pub fn attach_file(
    pipeline: &mut Pipeline,
    path: &Path,
    strength: f64,
    registry: &Registry,
) -> Result<Attached, ModelError> {
    let (found, attached) = read(pipeline, path, registry)?;
    let set = &attached.set;
    // All or nothing.
    let mut unet = pipeline.unet.clone();
    let mut encoders: Vec<_> =
        pipeline.encoders.iter().map(|encoder| encoder.model.clone()).collect();
    for (component, adapters) in found {
        match component {
            Component::TextEncoder => encoders[0] = attach(&encoders[0], set, strength, adapters)?,
            Component::TextEncoder2 => {
                encoders[1] = attach(&encoders[1], set, strength, adapters)?;
            }
            _ => unet = attach(&unet, set, strength, adapters)?,
        }
    }
    pipeline.unet = unet;
    for (encoder, model) in pipeline.encoders.iter_mut().zip(encoders) {
        encoder.model = model;
    }
    Ok(attached)
}

fn read(
    pipeline: &Pipeline,
    path: &Path,
    registry: &Registry,
) -> Result<(Found, Attached), ModelError> {
    let reader = AdapterReader::open(path, &stems(registry))?;
    let mut places = places_of(Component::Unet, &pipeline.unet);
    let components = [Component::TextEncoder, Component::TextEncoder2];
    for (encoder, component) in pipeline.encoders.iter().zip(components) {
        places.extend(places_of(component, &encoder.model));
    }
    let names = Names::new(pipeline.tensors().into_iter().map(|tensor| tensor.key));

    let mut leftovers: Vec<Leftover> = Vec::new();
    let mut leave = |name: &str, reason: String| {
        leftovers.push(Leftover { name: name.into(), reason });
    };
    let mut found = Found::new();
    let (mut modules, mut parameters_adapted) = (0, 0);
    for module in reader.modules() {
        let Some(target) = names.find(module)? else {
            leave(module, "not in the model".into());
            continue;
        };
        let tensors = reader.read(module)?;
        let component = target.component;
        let layer = target.path.clone().unwrap_or_default();
        let layer = places.get(&(component, layer)).map_or(&[][..], Vec::as_slice);
        let suits = |found: &&FoundSite| registry.detect(found.site.kind, &tensors).is_some();
        let layer: Vec<&FoundSite> = layer.iter().filter(suits).collect();
        if layer.is_empty() {
            leave(module, "no algorithm adapts its layer with these tensors".into());
            continue;
        }
        let parameters =
            layer.iter().map(|found| Parameter::new(&target.weight, found.site.clone()));
        let value = |parameter: &Parameter| {
            let found = layer.iter().find(|found| found.site.kind == parameter.site.kind);
            Ok(found.map(|found| found.matrix()))
        };
        let how = ModuleReader { path, registry, device: &pipeline.device, dtype: pipeline.dtype };
        let holding = how.at_base(module, &tensors, parameters.collect(), value)?;
        holding.unused.iter().for_each(|key| leave(&format!("{module}.{key}"), "not used".into()));
        modules += 1;
        for acting in holding.held.into_iter().filter_map(|held| held.acting) {
            parameters_adapted += 1;
            found.entry(component).or_default().push((acting.site, acting.adapter));
        }
    }
    reader.unused().iter().for_each(|unused| leave(&unused.key, unused.reason.to_string()));
    if modules == 0 {
        return Err(ModelError::Config {
            path: path.into(),
            reason: format!(
                "none of its {} modules is in {}; is this the model that it was made for?",
                reader.modules().count(),
                pipeline.path.display()
            ),
        });
    }
    let attached = Attached {
        set: new_set(pipeline, path),
        modules,
        parameters: parameters_adapted,
        leftovers,
        notes: reader.notes().to_vec(),
    };
    Ok((found, attached))
}

/// A name for the set of a file, which may act several times.
fn new_set(pipeline: &Pipeline, path: &Path) -> String {
    let mut taken = sets(&pipeline.unet);
    pipeline.encoders.iter().for_each(|encoder| taken.extend(sets(&encoder.model)));
    let name = |number| match number {
        1 => path.display().to_string(),
        _ => format!("{} ({number})", path.display()),
    };
    (1..).map(name).find(|name| !taken.contains(name)).expect("there are as many numbers as sets")
}

impl Pipeline {
    /// The weights that adapters can be for, under the names of diffusers' components: `unet.` and
    /// `text_encoder.`.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut all = prefixed("unet", &self.unet);
        for (encoder, prefix) in self.encoders.iter().zip(["text_encoder", "text_encoder_2"]) {
            all.extend(prefixed(prefix, &encoder.model));
        }
        all
    }
}

fn prefixed(prefix: &str, model: &impl Module) -> Vec<Tensor> {
    let tensors = table(model).into_iter();
    tensors.map(|it| Tensor { key: format!("{prefix}.{}", it.key), ..it }).collect()
}

/// The parameters of each layer of a model.
fn places_of(
    component: Component,
    model: &impl Module,
) -> BTreeMap<(Component, String), Vec<FoundSite>> {
    let mut places = BTreeMap::<_, Vec<FoundSite>>::new();
    for found in sites(model) {
        places.entry((component, found.site.path.clone())).or_default().push(found);
    }
    places
}

impl From<InjectError> for ModelError {
    fn from(error: InjectError) -> Self {
        Self::Adapter(Box::new(error.into()))
    }
}

impl From<ApplyError> for ModelError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::File(error) => error.into(),
            error => Self::Adapter(Box::new(error.into())),
        }
    }
}

/// An adapter's error, whichever side found it.
#[derive(Debug, thiserror::Error)]
pub enum AdapterProblem {
    /// The file.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The model.
    #[error(transparent)]
    Inject(#[from] InjectError),
}
