//! One tensor of a module: where it comes from, and what makes it LyCORIS's.

use std::path::Path;

use burn::tensor::{DType, TensorData};

use super::peft::Form;
use crate::{Checkpoint, FileError, cast};

/// Where a tensor of a module comes from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A tensor of the file in this shape, times a factor; the form in whose spelling its key is.
    Tensor { key: String, shape: Vec<usize>, factor: f64, form: Option<Form> },
    /// A number from the configuration.
    Number(f64),
}

impl Origin {
    /// The tensor's key, if it is stored in the file.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Tensor { key, .. } => Some(key),
            Self::Number(_) => None,
        }
    }

    /// The form in whose spelling the tensor's key is.
    pub fn form(&self) -> Option<Form> {
        match self {
            Self::Tensor { form, .. } => *form,
            Self::Number(_) => None,
        }
    }

    /// LyCORIS's shape of a stored tensor.
    pub fn shape(&self) -> Option<&[usize]> {
        match self {
            Self::Tensor { shape, .. } => Some(shape),
            Self::Number(_) => None,
        }
    }

    /// The tensor, ours by this name, in LyCORIS's shape and scale, all its elements finite. An alpha may be
    /// anything: not every algorithm has a use for it, and those that have one refuse what is no number.
    pub fn read(&self, ours: &str, checkpoint: &Checkpoint) -> Result<TensorData, FileError> {
        match self {
            Self::Number(value) => Ok(TensorData::new(vec![*value as f32], [0usize; 0])),
            Self::Tensor { key, shape, factor, .. } => {
                let data = checkpoint.read(key)?;
                if ours != "alpha" {
                    cast::check_finite(checkpoint.path(), key, &data)?;
                }
                scaled(checkpoint.path(), key, reshaped(data, shape), *factor)
            }
        }
    }
}

/// The same elements in another shape of as many.
pub(super) fn reshaped(data: TensorData, shape: &[usize]) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape.to_vec(), dtype)
}

/// The tensor times a factor other than 1: in f32 at least, so that the product is as exact as the reader.
pub(super) fn scaled(
    path: &Path,
    key: &str,
    data: TensorData,
    factor: f64,
) -> Result<TensorData, FileError> {
    if factor == 1.0 {
        return Ok(data);
    }
    let values = cast::to_f64(path, key, &data)?.into_iter().map(|x| x * factor).collect();
    let product = TensorData::new::<f64, _>(values, data.shape().clone());
    match data.dtype() {
        DType::F64 => Ok(product),
        _ => Ok(product.convert::<f32>()),
    }
}
