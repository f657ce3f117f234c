//! What there is to say about one adapter.

use higanbana_core::{Tensors, spectrum};
use serde::Serialize;

use crate::apply::{Found, Resolved, weight_or_bias};

/// The adapter of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterRow {
    /// The module's name in the file.
    pub module: String,
    /// `weight` or `bias`.
    pub parameter: &'static str,
    /// The tensor of the base that it adapts, if a base was given and has it.
    pub key: Option<String>,
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Shape of the parameter: of the base's, else as far as the file tells; a size that it leaves
    /// open is none, and so is a shape of which it tells nothing.
    pub shape: Option<Vec<Option<usize>>>,
    /// Whether the shape is `[out, in·K]` of a file that keeps kernels unfolded, if there are any.
    pub unfolded: bool,
    /// Rank, where the algorithm has one.
    pub rank: Option<usize>,
    /// `alpha` of the file, where it has one.
    pub alpha: Option<f64>,
    /// Trained values.
    pub parameters: usize,
    /// Element types of its tensors, joined by `+`.
    pub dtype: String,
    /// Frobenius norm of the update at strength 1; none if it follows from the base weight, and no
    /// base was given or it does not have the module. Infinite where the update overflows, which is
    /// null in JSON.
    pub norm: Option<f64>,
}

impl AdapterRow {
    pub(super) fn of(module: &str, found: &Found, tensors: &Tensors, dtype: &str) -> Self {
        let outline = found.outline();
        let alpha = tensors.get("alpha").filter(|alpha| alpha.num_elements() == 1);
        let base = found.parameter.as_ref();
        let shape = match base {
            Some(parameter) => parameter.site.shape.iter().copied().map(Some).collect(),
            None => outline.shape,
        };
        Self {
            module: module.into(),
            parameter: weight_or_bias(found.at),
            key: base.map(|parameter| parameter.key.clone()),
            algorithm: found.kind.name(),
            shape: Some(shape).filter(|shape| !shape.is_empty()),
            unfolded: base.is_none() && outline.unfolded,
            rank: outline.rank,
            alpha: alpha.and_then(|alpha| alpha.iter::<f64>().next()),
            parameters: match &found.resolved {
                Some(resolved) => resolved.adapter.parameter_count(&resolved.site),
                None => stored(&found.tensors),
            },
            dtype: dtype.into(),
            norm: found.resolved.as_ref().map(norm),
        }
    }
}

/// ‖W(1) − W₀‖ in the Frobenius norm, summed in f64; of finite tensors it is no number only where
/// values overflow on the way.
fn norm(resolved: &Resolved) -> f64 {
    let norm = spectrum::frobenius(&resolved.update(1.0));
    if norm.is_nan() { f64::INFINITY } else { norm }
}

/// Values in the tensors, without lone numbers such as `alpha`.
fn stored(tensors: &Tensors) -> usize {
    tensors.values().map(|data| data.num_elements()).filter(|&elements| elements > 1).sum()
}
