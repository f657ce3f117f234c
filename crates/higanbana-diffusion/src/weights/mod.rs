//! A model's tensors: which it has, and where they lie in files.
//!
//! A tensor is read when its turn comes and goes to the device at once, so that the host holds no
//! more than one besides those that are already loaded.

mod how;
mod load;
mod save;
mod single;
mod table;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor as BurnTensor, TensorData};
use higanbana_io::{Checkpoint, Dtype, FileError, Info, cast, weight_files};

pub use how::How;
pub(crate) use load::check;
pub use load::load;
pub use save::{Saving, save, save_single};
pub use single::{Family, Part};
pub use table::{Tensor, parameter_count, table};

use crate::ModelError;

/// The tensors of a model by the names that diffusers and transformers give them, in one file or
/// several.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<Checkpoint>,
    index: BTreeMap<String, Stored>,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
struct Stored {
    file: usize,
    key: String,
    how: How,
}

/// A tensor of a file as floats of `dtype`, with as many dimensions as are asked for; a number may be
/// stored without any.
///
/// # Errors
/// When there is none of the name, it has other dimensions, or is not finite.
pub fn tensor<const D: usize>(
    file: &Checkpoint,
    name: &str,
    device: &Device,
    dtype: DType,
) -> Result<BurnTensor<D>, ModelError> {
    let data = file.read(name)?;
    let mut shape = data.shape().as_slice().to_vec();
    if shape.is_empty() {
        shape.push(1);
    }
    let shape: [usize; D] = shape.try_into().map_err(|shape| {
        let reason =
            format!("is {shape:?} in {}; {D} dimensions are needed", file.path().display());
        ModelError::input(name, reason)
    })?;
    cast::check_finite(file.path(), name, &data)?;
    let values = TensorData::new(cast::to_f32(file.path(), name, &data)?, shape);
    Ok(BurnTensor::<D>::from_data(values, (device, DType::F32)).cast(dtype))
}

impl Weights {
    /// The tensors of one file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(path: &Path) -> Result<Self, ModelError> {
        Self::files(path, vec![Checkpoint::open(path)?])
    }

    /// The tensors of a folder: one file, or shards with an index; full precision before half,
    /// safetensors before pickles.
    ///
    /// # Errors
    /// When there are none, or one cannot be read.
    pub fn folder(folder: &Path) -> Result<Self, ModelError> {
        let files = weight_files(folder)?;
        let files = files.ok_or_else(|| FileError::NoWeights { path: folder.into() })?;
        let files = files.into_iter().map(Checkpoint::open).collect::<Result<_, _>>()?;
        Self::files(folder, files)
    }

    fn files(path: &Path, files: Vec<Checkpoint>) -> Result<Self, ModelError> {
        let mut index = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            for key in file.names() {
                let stored = Stored { file: number, key: key.clone(), how: How::Same };
                if index.insert(key.clone(), stored).is_some() {
                    let reason = format!("tensor {key} is in two of its files");
                    return Err(ModelError::Config { path: path.into(), reason });
                }
            }
        }
        Ok(Self { path: path.into(), files, index })
    }

    /// Leaves out tensors that are no weights, such as buffers.
    #[must_use]
    pub fn without(mut self, is_other: impl Fn(&str) -> bool) -> Self {
        self.index.retain(|key, _| !is_other(key));
        self
    }

    /// With other names.
    ///
    /// # Errors
    /// When two tensors get one name.
    pub fn renamed(mut self, rename: impl Fn(&str) -> String) -> Result<Self, ModelError> {
        for (key, stored) in std::mem::take(&mut self.index) {
            let name = rename(&key);
            if let Some(other) = self.index.insert(name.clone(), stored) {
                let reason = format!("tensors {} and {key} are both {name}", other.key);
                return Err(ModelError::Config { path: self.path, reason });
            }
        }
        Ok(self)
    }

    /// The file, or the folder of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, key: &str) -> Option<Vec<usize>> {
        let Stored { how, .. } = self.index.get(key)?;
        self.info(key).map(|info| how.shape(&info.shape))
    }

    /// What the file says of a tensor.
    fn info(&self, key: &str) -> Option<&Info> {
        let Stored { file, key, .. } = self.index.get(key)?;
        self.files[*file].info(key)
    }

    /// The element type in which a tensor is read.
    fn dtype(&self, key: &str) -> Option<Dtype> {
        let Stored { file, key, .. } = self.index.get(key)?;
        self.files[*file].dtype_read(key)
    }

    /// A tensor as the model has it, in the element type of the file.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn read(&self, key: &str) -> Result<TensorData, ModelError> {
        let missing = || FileError::NoSuchKey { path: self.path.clone(), key: key.into() };
        let Stored { file, key, how } = self.index.get(key).ok_or_else(missing)?;
        Ok(how.read(self.files[*file].read(key)?))
    }
}
