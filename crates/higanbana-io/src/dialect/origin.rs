//! One tensor of a module: where it comes from, and what makes it LyCORIS's.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{DType, TensorData};

use crate::{Checkpoint, FileError, cast};

/// Where a tensor of a module comes from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A tensor as it is.
    Tensor(String),
    /// PEFT's norms, which have another shape.
    Magnitude(String),
    /// A tensor times a factor.
    Scaled(String, f64),
    /// A number from the configuration.
    Number(f64),
}

impl Origin {
    /// The tensor's key, if it is stored in the file.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Tensor(key) | Self::Magnitude(key) | Self::Scaled(key, _) => Some(key),
            Self::Number(_) => None,
        }
    }

    /// The tensor in LyCORIS's shape and scale, all its elements finite.
    pub fn read(&self, checkpoint: &Checkpoint) -> Result<TensorData, FileError> {
        let key = match self {
            Self::Number(value) => return Ok(TensorData::new(vec![*value as f32], [0usize; 0])),
            Self::Tensor(key) | Self::Magnitude(key) | Self::Scaled(key, _) => key,
        };
        let data = checkpoint.read(key)?;
        cast::check_finite(checkpoint.path(), key, &data)?;
        match self {
            Self::Magnitude(_) => Ok(column(data)),
            Self::Scaled(_, factor) => scaled(checkpoint.path(), key, &data, *factor),
            _ => Ok(data),
        }
    }
}

/// A module of a file whose tensors are on their way into LyCORIS's terms.
pub(super) struct Incoming<'a> {
    pub file: &'a Checkpoint,
    pub module: &'a str,
    pub tensors: &'a mut BTreeMap<String, Origin>,
}

impl Incoming<'_> {
    /// The sizes of a tensor; none of one that is not there.
    pub fn shape(&self, suffix: &str) -> &[usize] {
        let info = self.tensors.get(suffix).and_then(Origin::key).and_then(|it| self.file.info(it));
        info.map_or(&[], |info| info.shape.as_slice())
    }

    /// Says why the module is not what it looks like.
    pub fn refuse(&self, reason: &'static str) -> FileError {
        let (path, module) = (self.file.path().into(), self.module.into());
        FileError::CannotRead { path, module, reason }
    }
}

/// PEFT's `[out]` (linear) or `[1, out, 1, ..]` (convolution) as LyCORIS's `[out, 1, ..]`.
fn column(data: TensorData) -> TensorData {
    let mut shape = data.shape().to_vec();
    match shape.len() {
        1 => shape.push(1),
        3.. if shape[0] == 1 => shape.swap(0, 1),
        _ => return data,
    }
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape, dtype)
}

/// The tensor times a factor; in f32 at least, so that the product is as exact as the reader.
pub(super) fn scaled(
    path: &Path,
    key: &str,
    data: &TensorData,
    factor: f64,
) -> Result<TensorData, FileError> {
    let values = cast::to_f64(path, key, data)?.into_iter().map(|x| x * factor).collect();
    let product = TensorData::new::<f64, _>(values, data.shape().clone());
    match data.dtype() {
        DType::F64 => Ok(product),
        _ => Ok(product.convert::<f32>()),
    }
}
