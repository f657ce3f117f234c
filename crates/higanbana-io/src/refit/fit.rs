//! One adapter, fitted to one update.

use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use higanbana_core::{Arguments, Budget, DynAdapter, Kind, Parts, Site, Tensors, spectrum};
use serde::Serialize;

use super::FitError;
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
    /// Where the fit is a local optimum, the error that no adapter of its rank bound goes below; none where it is that
    /// near already.
    pub local_optimum: Option<f64>,
}

/// An error above the least by this share of the norm is that of a local optimum: less is rounding.
const ROUNDING: f64 = 1e-5;

/// Fits the algorithm `kind` to the update of `module` and gives the tensors of its file as `dtype`;
/// a number without dimensions, such as alpha, stays as it is. The error is that of these tensors. Where an
/// `alpha` is given, the file has that one, and its tensors what it takes away.
///
/// # Errors
/// When the algorithm has no fit, or no alpha, the decomposition fails, or a value exceeds `dtype`.
pub fn fit(
    kind: &Kind,
    module: &str,
    site: &Site,
    update: &Tensor<2>,
    budget: Budget,
    alpha: Option<f64>,
    dtype: DType,
) -> Result<(Tensors, Fit), FitError> {
    norm(module, update)?;
    let adapter = match kind.fit(site, update, budget) {
        None => Err(FitError::failed(module, format!("{} has no fit", kind.name()))),
        Some(fitted) => fitted.map_err(|error| FitError::failed(module, error)),
    }?;
    let adapter = match alpha {
        None => adapter,
        Some(alpha) => adapter.with_alpha(alpha).ok_or_else(|| FitError::NoAlpha {
            module: module.into(),
            algorithm: kind.name().into(),
        })?,
    };
    // What could be fitted to an update alone does not look at the base either.
    let arguments = &Arguments::new();
    let goal = Goal { kind, module, site, w0: update, update, arguments };
    let local_optimum = goal.above_least(&adapter)?;
    let (tensors, fit) = goal.meet(adapter.write(site), dtype)?;
    Ok((tensors, Fit { local_optimum, ..fit }))
}

/// An update that the tensors of an algorithm's file are to have.
pub(super) struct Goal<'a> {
    pub kind: &'a Kind,
    pub module: &'a str,
    pub site: &'a Site,
    pub w0: &'a Tensor<2>,
    pub update: &'a Tensor<2>,
    /// What the metadata of the file are to say.
    pub arguments: &'a Arguments,
}

impl Goal<'_> {
    /// Of a fit that is a local optimum, the error that no update of its rank bound goes below (Eckart, Young); none
    /// where it goes no higher.
    pub fn above_least(&self, fitted: &DynAdapter) -> Result<Option<f64>, FitError> {
        let Self { kind, module, site, w0, update, .. } = *self;
        if !kind.fitted_locally() {
            return Ok(None);
        }
        let s =
            spectrum::singular_values(update).map_err(|error| FitError::failed(module, error))?;
        let least = spectrum::truncation_error(&s, fitted.rank_bound(site));
        let error = norm(module, &(update.clone() - fitted.update_at(site, w0, 1.0)))?;
        let above = error > least + ROUNDING * spectrum::frobenius_norm(&s);
        Ok(above.then_some(least))
    }

    /// The tensors as a file holds them, and how close they come.
    pub fn meet(&self, tensors: Tensors, dtype: DType) -> Result<(Tensors, Fit), FitError> {
        let Self { kind, module, site, w0, update, arguments } = *self;
        let tensors = stored(module, tensors, dtype)?;
        let parts = Parts::new(module, &tensors, &update.device(), update.dtype())
            .with_arguments(arguments);
        let written = kind.read(site, &parts).map_err(|error| FitError::failed(module, error))?;
        let missing = update.clone() - written.update_at(site, w0, 1.0);
        let fit = Fit {
            algorithm: kind.name().into(),
            rank: kind.outline(site.kind, &tensors).rank,
            parameters: written.parameter_count(site),
            norm: norm(module, update)?,
            error: norm(module, &missing)?,
            local_optimum: None,
        };
        Ok((tensors, fit))
    }
}

/// The tensors of a module as a file of this element type holds them; an integer, such as a seed, stays one.
pub(super) fn stored(module: &str, tensors: Tensors, dtype: DType) -> Result<Tensors, FitError> {
    let stored = tensors.into_iter().map(|(key, data)| {
        let data = one_stored(module, &key, data, dtype)?;
        Ok((key, data))
    });
    stored.collect()
}

fn one_stored(
    module: &str,
    key: &str,
    data: TensorData,
    dtype: DType,
) -> Result<TensorData, FitError> {
    if data.shape().num_dims() == 0 || !data.dtype().is_float() {
        return Ok(data);
    }
    let overflow = || FitError::Overflow {
        module: module.into(),
        key: key.into(),
        dtype: format!("{dtype:?}"),
    };
    let data = cast::cast(data, dtype).map_err(|_| overflow())?;
    cast::check_finite(Path::new(module), key, &data).map_err(|_| overflow())?;
    Ok(data)
}

/// The Frobenius norm of what belongs to `module`, summed in f64.
pub(super) fn norm(module: &str, matrix: &Tensor<2>) -> Result<f64, FitError> {
    let norm = spectrum::frobenius(matrix);
    if norm.is_finite() {
        return Ok(norm);
    }
    let what = format!("its update overflows {:?}", matrix.dtype());
    Err(FitError::failed(
        module,
        format!("{what}; compute with --precise, or take an earlier file"),
    ))
}
