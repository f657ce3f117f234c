//! One adapter, fitted to one update.

use burn::tensor::{DType, Tensor, TensorData};
use higanbana_core::{Budget, Kind, Parts, Site, Tensors};
use serde::Serialize;

use super::RefitError;
use crate::cast;

/// How close an adapter, as its file holds it, comes to an update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// Name of its algorithm.
    pub algorithm: String,
    /// Rank, where the algorithm has one.
    pub rank: Option<usize>,
    /// Number of trained values.
    pub parameters: usize,
    /// Frobenius norm of the update, $\lVert \Delta W \rVert_F$.
    pub norm: f64,
    /// Frobenius norm of what is missing, $\lVert \Delta W - \widehat{\Delta W} \rVert_F$.
    pub error: f64,
}

/// Fits the algorithm `kind` to the update of `module` and gives the tensors of its file as `dtype`;
/// a number without dimensions, such as alpha, stays as it is. The error is that of these tensors.
///
/// # Errors
///
/// When the algorithm has no fit, the decomposition fails, or a value exceeds `dtype`.
pub fn fit(
    kind: &dyn Kind,
    module: &str,
    site: &Site,
    update: &Tensor<2>,
    budget: Budget,
    dtype: DType,
) -> Result<(Tensors, Fit), RefitError> {
    let failed =
        |reason: &dyn ToString| RefitError::Fit { module: module.into(), reason: reason.to_string() };
    let adapter = match kind.fit(site, update, budget) {
        None => Err(failed(&format!("{} has no fit", kind.name()))),
        Some(Err(error)) => Err(failed(&error)),
        Some(Ok(adapter)) => Ok(adapter),
    }?;
    let tensors = adapter.write(site).into_iter().map(|(key, data)| {
        let data = stored(module, &key, data, dtype)?;
        Ok((key, data))
    });
    let tensors = tensors.collect::<Result<Tensors, RefitError>>()?;

    let parts = Parts::new(module, &tensors, &update.device(), update.dtype());
    let written = kind.read(site, &parts).map_err(|error| failed(&error))?;
    // What could be fitted to an update alone does not look at the base either.
    let missing = update.clone() - written.update_at(site, update, 1.0);
    let fit = Fit {
        algorithm: kind.name().into(),
        rank: kind.outline(site.kind, &tensors).rank,
        parameters: written.parameter_count(site),
        norm: norm(update).map_err(|error| failed(&error))?,
        error: norm(&missing).map_err(|error| failed(&error))?,
    };
    Ok((tensors, fit))
}

fn stored(
    module: &str,
    key: &str,
    data: TensorData,
    dtype: DType,
) -> Result<TensorData, RefitError> {
    if data.shape().num_dims() == 0 {
        return Ok(data);
    }
    let overflow = || RefitError::Overflow {
        module: module.into(),
        key: key.into(),
        dtype: format!("{dtype:?}"),
    };
    let data = cast::cast(data, dtype).map_err(|_| overflow())?;
    match data.iter::<f64>().all(f64::is_finite) {
        true => Ok(data),
        false => Err(overflow()),
    }
}

/// The Frobenius norm, summed in f64.
pub(super) fn norm(matrix: &Tensor<2>) -> Result<f64, burn::tensor::TensorReadError> {
    let entries = matrix.try_to_vec_as::<f64>()?;
    Ok(entries.iter().map(|x| x * x).sum::<f64>().sqrt())
}
