//! Adapter files on a pipeline's models.

use std::{collections::BTreeMap, path::Path};

use burn::module::Module;
use higanbana_adapters::inject::{FoundSite, InjectError, attach, sets, sites};
use higanbana_core::{DynAdapter, Registry, Site};
use higanbana_io::{
    AdapterReader, Names, Strength, Target,
    apply::{ApplyError, Model, ModuleReader, Parameter, Placed},
    names::Component,
};

use super::{Learnt, Pipeline};
use crate::{
    ModelError,
    weights::{Tensor, table},
};

/// What of a file acts, and under which name.
#[derive(Debug)]
pub struct Attached {
    /// The name of their set: the file's path, with a number where the file acts already.
    pub set: String,
    /// What found its place.
    pub placed: Placed,
    /// Tokens that the file brings along, and prompts may hold now.
    pub learnt: Vec<Learnt>,
}

/// The adapters of a file, by the model that they belong to and by their strength.
pub type Found = Vec<(Component, f64, Vec<(Site, DynAdapter)>)>;

/// Puts the adapters of a file onto a pipeline, as strong as that, beside those already there. They can
/// be taken off again by the name of their [set](Attached::set). Embeddings that are bundled with them are
/// learnt, whatever the strength.
///
/// # Errors
/// When the file cannot be read, none of it fits, its adapters or embeddings contradict the models, or block
/// weights leave out the block of one.
pub fn attach_file(
    pipeline: &mut Pipeline,
    path: &Path,
    strength: &Strength,
    registry: &Registry,
) -> Result<Attached, ModelError> {
    let reader = AdapterReader::open(path, registry)?;
    let (found, mut placed) = read_file(pipeline, &reader, strength, registry)?;
    let embeddings = reader.embeddings()?;
    placed.leftovers.retain(|it| embeddings.iter().all(|embedding| embedding.key != it.name));
    let lessons = pipeline.lessons([(reader.checkpoint(), &embeddings[..])])?;
    let set = new_set(pipeline, path);
    // All or nothing.
    let mut unet = pipeline.unet.clone();
    let mut encoders: Vec<_> =
        pipeline.encoders.iter().map(|encoder| encoder.model.clone()).collect();
    for (component, strength, adapters) in found {
        match component {
            Component::TextEncoder => encoders[0] = attach(&encoders[0], &set, strength, adapters)?,
            Component::TextEncoder2 => {
                encoders[1] = attach(&encoders[1], &set, strength, adapters)?;
            }
            _ => unet = attach(&unet, &set, strength, adapters)?,
        }
    }
    pipeline.unet = unet;
    for (encoder, model) in pipeline.encoders.iter_mut().zip(encoders) {
        encoder.model = model;
    }
    Ok(Attached { set, placed, learnt: pipeline.take(lessons)? })
}

/// The adapters of a file that find a place in a pipeline's models, and what was left over.
///
/// # Errors
/// When the file cannot be read, or none of it fits.
pub fn read_file(
    pipeline: &Pipeline,
    reader: &AdapterReader,
    strength: &Strength,
    registry: &Registry,
) -> Result<(Found, Placed), ModelError> {
    let (device, dtype) = (&pipeline.device, pipeline.dtype);
    let how = ModuleReader { file: reader, registry, device, dtype };
    let mut adapters = Found::new();
    let placed = how.onto(&Layers::of(pipeline), |module, target, found| {
        let strength = strength.at(target).map_err(|reason| ApplyError::Strength {
            path: reader.path().into(),
            module: module.into(),
            reason,
        })?;
        let resolved = found.resolved.map(|resolved| (resolved.site, resolved.adapter));
        let alike = adapters
            .iter_mut()
            .find(|(component, other, _)| *component == target.component && *other == strength);
        match alike {
            Some((_, _, adapters)) => adapters.extend(resolved),
            None => adapters.push((target.component, strength, resolved.into_iter().collect())),
        }
        Ok(())
    })?;
    Ok((adapters, placed))
}

/// The layers of a pipeline's models, by model and path.
struct Layers {
    title: String,
    names: Names,
    sites: BTreeMap<(Component, String), Vec<FoundSite>>,
}

impl Layers {
    fn of(pipeline: &Pipeline) -> Self {
        let mut layers = Self {
            title: pipeline.path.display().to_string(),
            names: Names::new(pipeline.tensors().into_iter().map(|tensor| tensor.key)),
            sites: BTreeMap::new(),
        };
        layers.add(Component::Unet, &pipeline.unet);
        let components = [Component::TextEncoder, Component::TextEncoder2];
        for (encoder, component) in pipeline.encoders.iter().zip(components) {
            layers.add(component, &encoder.model);
        }
        layers
    }

    fn add(&mut self, component: Component, model: &impl Module) {
        for found in sites(model) {
            let layer = (component, found.site.path.clone());
            self.sites.entry(layer).or_default().push(found);
        }
    }

    /// The parameters of a layer.
    fn layer(&self, target: &Target) -> &[FoundSite] {
        let layer = (target.component, target.path.clone().unwrap_or_default());
        self.sites.get(&layer).map_or(&[], Vec::as_slice)
    }
}

impl Model for Layers {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn parameters(&self, target: &Target) -> Result<Vec<Parameter>, ApplyError> {
        let sites = self.layer(target).iter();
        Ok(sites.map(|found| Parameter::new(&target.weight, found.site.clone())).collect())
    }

    fn value(
        &self,
        target: &Target,
        parameter: &Parameter,
    ) -> Result<Option<burn::tensor::Tensor<2>>, ApplyError> {
        let found = self.layer(target).iter().find(|found| found.site == parameter.site);
        Ok(found.map(FoundSite::matrix))
    }
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
