//! Parameters of a base checkpoint, as the adapters of a file see them.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_core::{Site, SiteKind};

use super::ApplyError;
use crate::{Checkpoint, Dtype, Target, cast};

/// A tensor of the base, or a block of its rows, that a module of an adapter file may adapt.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Key of the tensor.
    pub key: String,
    /// What it is; where only some rows are meant, of these.
    pub site: Site,
    /// The rows that are meant, where these are not all.
    pub rows: Option<Range<usize>>,
    /// The columns that are meant, where these are not all: the first, of the first input channels.
    pub columns: Option<usize>,
    /// Whether the base stores it transposed; `site` is as adapters see it.
    pub transposed: bool,
}

/// Which of a layer's two parameters a kind is.
pub(crate) fn weight_or_bias(kind: SiteKind) -> &'static str {
    if kind.is_bias() { "bias" } else { "weight" }
}

impl Parameter {
    /// All of the tensor `key`.
    pub fn new(key: impl Into<String>, site: Site) -> Self {
        Self { key: key.into(), site, rows: None, columns: None, transposed: false }
    }

    /// Weight and bias of a target.
    ///
    /// # Errors
    /// When the weight has no shape that a layer has, or not the rows that the target asks for.
    pub fn of(base: &Checkpoint, target: &Target) -> Result<Vec<Self>, ApplyError> {
        let unfit = |key: &str, reason: String| ApplyError::base(base.path(), key, reason);
        let shape = |key: &str| base.info(key).map(|info| info.shape.clone()).unwrap_or_default();
        let weight = shape(&target.weight);
        let kind = SiteKind::of_rank(weight.len()).filter(|_| !weight.contains(&0));
        let Some(kind) = kind else {
            return Err(unfit(
                &target.weight,
                format!("no layer has a weight of shape {weight:?}"),
            ));
        };
        let bias_kind = if kind.is_vector() { SiteKind::NormBias } else { SiteKind::Bias };
        let bias = target.bias.as_deref().map(|key| (key, bias_kind, shape(key)));
        let path = target.weight.strip_suffix(".weight").unwrap_or(&target.weight);
        [(target.weight.as_str(), kind, weight)]
            .into_iter()
            .chain(bias.filter(|(_, _, shape)| matches!(shape[..], [n] if n > 0)))
            .map(|(key, kind, mut shape)| {
                let rows = match target.part {
                    None => None,
                    Some(part) => Some(part.rows(shape[0]).ok_or_else(|| {
                        unfit(key, format!("its {} rows are not {} blocks", shape[0], part.of))
                    })?),
                };
                shape[0] = rows.as_ref().map_or(shape[0], |rows| rows.len());
                let transposed = target.transposed && shape.len() == 2;
                if transposed {
                    shape.reverse();
                }
                let (key, site) = (key.into(), Site::new(path, kind, shape));
                Ok(Self { key, site, rows, columns: None, transposed })
            })
            .collect()
    }

    /// That of the first input channels of a convolution. The others would get zeros of an adapter for
    /// so few, as the web UI has it for models of inpainting.
    pub fn of_first_inputs(self, inputs: usize) -> Self {
        let taps: usize = self.site.kernel().iter().product();
        let columns = Some(inputs * taps);
        let mut site = self.site;
        site.shape[1] = inputs;
        Self { site, columns, ..self }
    }

    /// Its value: all of the base's matrix, or its rows or columns, or the transposed.
    pub fn of_matrix(&self, whole: &Tensor<2>) -> Tensor<2> {
        match self.block(whole) {
            None if self.transposed => whole.clone().transpose(),
            None => whole.clone(),
            Some(block) => whole.clone().slice(block),
        }
    }

    /// The base's matrix with an update of this parameter added.
    pub fn add(&self, whole: Tensor<2>, update: Tensor<2>) -> Tensor<2> {
        match self.block(&whole) {
            None if self.transposed => whole + update.transpose(),
            None => whole + update,
            Some(block) => {
                let sum = whole.clone().slice(block.clone()) + update;
                whole.slice_assign(block, sum)
            }
        }
    }

    /// The rows and columns that are meant, where these are not all.
    fn block(&self, whole: &Tensor<2>) -> Option<[Range<usize>; 2]> {
        let [rows, columns] = whole.dims();
        let is_part = self.rows.is_some() || self.columns.is_some();
        is_part.then(|| [self.rows.clone().unwrap_or(0..rows), 0..self.columns.unwrap_or(columns)])
    }

    /// Its value, read from the base.
    ///
    /// # Errors
    /// Those of [`read_matrix`].
    pub fn read(
        &self,
        base: &Checkpoint,
        device: &Device,
        dtype: DType,
    ) -> Result<Tensor<2>, ApplyError> {
        Ok(self.of_matrix(&read_matrix(base, &self.key, device, dtype)?))
    }
}

/// Checks that a tensor can be computed with.
///
/// # Errors
/// When the base stores it as integers, or in fewer than 8 bits: such weights are quantised.
pub fn expect_float(base: &Checkpoint, key: &str) -> Result<(), ApplyError> {
    match base.info(key).map(|info| info.dtype) {
        Some(Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) | None => Ok(()),
        Some(Dtype::F8_E4M3 | Dtype::F8_E5M2) => Ok(()),
        Some(dtype) => Err(ApplyError::base(
            base.path(),
            key,
            format!("it is {dtype}, quantised; take a base saved as F32, F16 or BF16"),
        )),
    }
}

/// A tensor of the base as the matrix `[out, in·K]`.
///
/// # Errors
/// When it cannot be read, or holds NaN or an infinity.
pub fn read_matrix(
    base: &Checkpoint,
    key: &str,
    device: &Device,
    dtype: DType,
) -> Result<Tensor<2>, ApplyError> {
    let data = base.read(key)?;
    cast::check_finite(base.path(), key, &data)?;
    let shape = data.shape().clone();
    let out = shape.first().copied().unwrap_or(1);
    let matrix = [out, shape.num_elements() / out.max(1)];
    let data = match dtype {
        DType::F64 => TensorData::new(cast::to_f64(base.path(), key, &data)?, matrix),
        _ => TensorData::new(cast::to_f32(base.path(), key, &data)?, matrix),
    };
    Ok(Tensor::from_data(data, (device, dtype)))
}
