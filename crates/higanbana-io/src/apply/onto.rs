//! Adapter files onto models, module by module: what merging, loading, inspecting and fitting share.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::Tensors;

use super::{ApplyError, Found, Leftover, Leftovers, ModuleReader, Parameter, notes};
use crate::{Checkpoint, FileError, Names, Target};

/// A model, as adapter files see it.
pub trait Model {
    /// What messages call it.
    fn title(&self) -> String;

    /// The names of its layers.
    fn names(&self) -> &Names;

    /// The parameters of the layer that a name means.
    ///
    /// # Errors
    /// When the layer has no weight that an adapter could be for.
    fn parameters(&self, target: &Target) -> Result<Vec<Parameter>, ApplyError>;

    /// The part of a parameter that the adapter of these tensors is for.
    fn fitted(&self, parameter: Parameter, _tensors: &Tensors) -> Parameter {
        parameter
    }

    /// The frozen weight of one of them, where that is at hand.
    ///
    /// # Errors
    /// When it cannot be read.
    fn value(
        &self,
        target: &Target,
        parameter: &Parameter,
    ) -> Result<Option<Tensor<2>>, ApplyError>;
}

/// A checkpoint, whose weights are read when they are asked for.
#[derive(Debug)]
pub struct Base {
    /// The file.
    pub file: Checkpoint,
    /// The names of its layers.
    pub names: Names,
    device: Device,
    dtype: DType,
}

impl Base {
    /// Opens a checkpoint; `dtype` (F32 or F64) is what its weights are computed with in.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open(path: &Path, device: &Device, dtype: DType) -> Result<Self, FileError> {
        let file = Checkpoint::open(path)?;
        let names = Names::new(file.names());
        Ok(Self { file, names, device: device.clone(), dtype })
    }
}

impl Model for Base {
    fn title(&self) -> String {
        self.file.path().display().to_string()
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn parameters(&self, target: &Target) -> Result<Vec<Parameter>, ApplyError> {
        Parameter::of(&self.file, target)
    }

    fn value(
        &self,
        _target: &Target,
        parameter: &Parameter,
    ) -> Result<Option<Tensor<2>>, ApplyError> {
        parameter.read(&self.file, &self.device, self.dtype).map(Some)
    }
}

/// What of a file acts on a model.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// Number of modules.
    pub modules: usize,
    /// Number of weights and biases that they adapt.
    pub parameters: usize,
    /// What has no place, or is not understood.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

impl<'a> ModuleReader<'a> {
    /// Shows every adapter that has a place in the model to `each`, with the name of its module and the
    /// layer that this means.
    ///
    /// # Errors
    /// When a module cannot be read, contradicts itself or the model, two of them adapt one parameter, or
    /// none fits; and those of `each`.
    pub fn onto(
        &self,
        model: &dyn Model,
        mut each: impl FnMut(&'a str, &Target, Found<'a>) -> Result<(), ApplyError>,
    ) -> Result<Placed, ApplyError> {
        let mut leftovers = Leftovers::of(self.file);
        let mut placed = Placed::default();
        let mut taken = BTreeMap::new();
        for module in self.file.modules() {
            let Some(target) = leftovers.expect(module, model.names()) else { continue };
            let (tensors, place) = (self.file.read(module)?, Some((model, target)));
            let found = self.module(module, &tensors, place, &mut leftovers)?;
            let Some(found) = found else { continue };
            placed.modules += 1;
            for found in found {
                let parameter = found.parameter.as_ref().expect("the model has it");
                let key = parameter.key.clone();
                let rows = parameter.rows.as_ref().map(|rows| rows.start);
                if let Some(first) = taken.insert((key.clone(), found.at.is_bias(), rows), module) {
                    let (path, first, second) =
                        (self.file.path().into(), first.into(), module.into());
                    return Err(ApplyError::Twice { path, key, first, second });
                }
                placed.parameters += 1;
                each(module, target, found)?;
            }
        }
        placed.leftovers = leftovers.into_vec();
        placed.notes = notes(self.file, self.registry);
        if placed.modules == 0 {
            return Err(ApplyError::OtherModel {
                path: self.file.path().into(),
                base: model.title(),
                modules: self.file.modules().count(),
                example: placed.leftovers.first().map(Leftover::to_string).unwrap_or_default(),
            });
        }
        Ok(placed)
    }

    /// The adapters of a module: at a place in a model, or, without one, as far as its tensors tell; none
    /// if no algorithm takes them.
    pub(crate) fn module(
        &self,
        module: &str,
        tensors: &Tensors,
        place: Option<(&dyn Model, &Target)>,
        leftovers: &mut Leftovers,
    ) -> Result<Option<Vec<Found<'a>>>, ApplyError> {
        let (holding, what) = match place {
            None => (self.alone(module, tensors)?, "this layer".to_string()),
            Some((model, target)) => {
                let value = |parameter: &Parameter| model.value(target, parameter);
                let parameters = model.parameters(target)?.into_iter();
                let parameters = parameters.map(|it| model.fitted(it, tensors)).collect();
                let holding = self.at_base(module, tensors, parameters, value)?;
                (holding, format!("{:?}", target.weight))
            }
        };
        if holding.found.is_empty() {
            leftovers.unknown(module, tensors, &what);
            return Ok(None);
        }
        leftovers.unused(module, &holding.unused);
        Ok(Some(holding.found))
    }
}
