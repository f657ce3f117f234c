//! Two checkpoints of one model, tensor by tensor.

use std::{collections::BTreeSet, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::RefitError;
use crate::{
    Checkpoint, Info,
    apply::{Parameter, expect_float, read_matrix},
    cast, float8,
};

/// A checkpoint before and after tuning.
#[derive(Debug)]
pub struct Pair {
    /// Before.
    pub base: Checkpoint,
    /// After.
    pub tuned: Checkpoint,
    /// Keys that both have.
    pub common: BTreeSet<String>,
}

impl Pair {
    /// Opens both; no tensor is read.
    ///
    /// # Errors
    /// When one cannot be opened, or they have no tensor of one name and shape.
    pub fn open(base: &Path, tuned: &Path) -> Result<Self, RefitError> {
        let (base, tuned) = (Checkpoint::open(base)?, Checkpoint::open(tuned)?);
        let common: BTreeSet<String> =
            base.names().iter().filter(|key| tuned.info(key).is_some()).cloned().collect();
        let pair = Self { base, tuned, common };
        if pair.common.iter().any(|key| pair.same_shape(key)) {
            return Ok(pair);
        }
        Err(RefitError::NothingInCommon {
            base: pair.base.path().into(),
            tensors: pair.base.names().len(),
            tuned: pair.tuned.path().into(),
            others: pair.tuned.names().len(),
        })
    }

    /// Keys that only the base has, and keys that only the tuned checkpoint has.
    pub fn unpaired(&self) -> [Vec<String>; 2] {
        [&self.base, &self.tuned].map(|checkpoint| {
            let alone = checkpoint.names().iter().filter(|key| !self.common.contains(*key));
            alone.cloned().collect()
        })
    }

    /// Whether both have the tensor, in one shape.
    pub fn same_shape(&self, key: &str) -> bool {
        let [base, tuned] = self.infos(key);
        matches!((base, tuned), (Some(base), Some(tuned)) if base.shape == tuned.shape)
    }

    /// Whether the tensors differ by more than the element type that they are saved in: those of a
    /// checkpoint and of its copy in 16 or 8 bits do not, unless that is scaled.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn differ(&self, key: &str) -> Result<bool, RefitError> {
        let dtypes = self.infos(key).map(|info| info.map(|info| info.dtype));
        let scaled = self.base.scale_of(key)?.is_some() || self.tuned.scale_of(key)?.is_some();
        if dtypes[0] == dtypes[1] && !scaled {
            return Ok(self.base.read_bytes(key)? != self.tuned.read_bytes(key)?);
        }
        let (base, tuned) = (self.base.read(key)?, self.tuned.read(key)?);
        let eight = dtypes.into_iter().flatten().find(|dtype| float8::is(*dtype));
        if let Some(dtype) = eight.filter(|_| !scaled) {
            let rounded = |data: &TensorData| -> Vec<f32> {
                data.iter::<f32>().map(|value| float8::rounded(dtype, value)).collect()
            };
            return Ok(rounded(&base) != rounded(&tuned));
        }
        let (Some(a), Some(b)) = (precision(base.dtype()), precision(tuned.dtype())) else {
            return Ok(true);
        };
        let coarser = if a < b { base.dtype() } else { tuned.dtype() };
        let rounded = |data: TensorData| cast::cast(data, coarser).ok();
        Ok(rounded(base) != rounded(tuned))
    }

    /// What tuning added to a parameter, as the matrix `[out, in·K]`.
    ///
    /// # Errors
    /// When a tensor cannot be read or is quantised, or holds NaN or an infinity.
    pub fn difference(
        &self,
        parameter: &Parameter,
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor<2>, RefitError> {
        let read = |checkpoint: &Checkpoint| {
            expect_float(checkpoint, &parameter.key)?;
            parameter.read(checkpoint, device, dtype)
        };
        Ok(read(&self.tuned)? - read(&self.base)?)
    }

    /// [`Self::difference`] of a tensor that is no parameter of a layer.
    ///
    /// # Errors
    /// As there.
    pub fn difference_of(
        &self,
        key: &str,
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor<2>, RefitError> {
        let read = |checkpoint: &Checkpoint| read_matrix(checkpoint, key, device, dtype);
        Ok(read(&self.tuned)? - read(&self.base)?)
    }

    fn infos(&self, key: &str) -> [Option<&Info>; 2] {
        [self.base.info(key), self.tuned.info(key)]
    }
}

/// Bits of the mantissa of a float.
fn precision(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F64 => Some(52),
        DType::F32 => Some(23),
        DType::F16 => Some(10),
        DType::BF16 => Some(7),
        _ => None,
    }
}
