//! Weights from files into a model.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};
use higanbana_io::cast;

use super::{Tensor as Stored, Weights, table, table::Trail};
use crate::{KeyProblem, ModelError};

/// Gives a new model its weights, on the device where it was made, as `dtype`.
///
/// # Errors
/// When the files lack a tensor, have one too many or one of another shape (all are listed), cannot
/// be read, or hold a value that is not finite.
pub fn load<M: Module>(model: M, weights: &Weights, dtype: DType) -> Result<M, ModelError> {
    check(&table(&model), weights)?;
    let mut load = Load { weights, dtype, trail: Trail::default(), error: None };
    let model = model.map(&mut load);
    load.error.map_or(Ok(model), Err)
}

/// That the files have the tensors of a model, and no others.
///
/// # Errors
/// When they do not: all are listed.
pub(crate) fn check(tensors: &[Stored], weights: &Weights) -> Result<(), ModelError> {
    let problems = compare(tensors, weights);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ModelError::Keys { path: weights.path().into(), problems }),
    }
}

fn compare(tensors: &[Stored], weights: &Weights) -> Vec<KeyProblem> {
    let expected: BTreeMap<&str, &[usize]> =
        tensors.iter().map(|tensor| (&*tensor.key, &*tensor.shape)).collect();
    let present: BTreeSet<&str> = weights.keys().collect();
    let absent = expected.iter().filter_map(|(key, shape)| match weights.shape(key) {
        None => Some(KeyProblem::Missing(key.to_string())),
        Some(found) if found != *shape => {
            let (key, expected) = (key.to_string(), shape.to_vec());
            Some(KeyProblem::Shape { key, found, expected })
        }
        Some(_) => None,
    });
    let extra = present.iter().filter(|key| !expected.contains_key(**key));
    absent.chain(extra.map(|key| KeyProblem::Extra(key.to_string()))).collect()
}

struct Load<'a> {
    weights: &'a Weights,
    dtype: DType,
    trail: Trail,
    error: Option<ModelError>,
}

impl Load<'_> {
    fn tensor<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Tensor<D>, ModelError> {
        let place = self.trail.place().expect("a new model has no adapters");
        let data = self.weights.read(&place.key)?;
        cast::check_finite(self.weights.path(), &place.key, &data)?;
        let data = cast::cast(data, self.dtype).expect("files hold no quantised data");
        let tensor = Tensor::from_data(data, (&param.lazy_device(), self.dtype));
        // A view: the bytes stay as the file has them.
        Ok(if place.transposed { tensor.transpose() } else { tensor })
    }
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.trail.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.trail.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        match self.tensor(&param) {
            Ok(tensor) => Param::initialized(param.id, tensor).set_require_grad(true),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
