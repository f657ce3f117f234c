//! What refitting a whole file gives: layer by layer and in total.

use higanbana_core::Site;
use serde::Serialize;

use super::Fit;
use crate::apply::weight_or_bias;

/// A parameter and its fitted adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refitted {
    /// Name of the module in the file.
    pub module: String,
    /// `weight` or `bias`.
    pub parameter: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How close the adapter comes.
    #[serde(flatten)]
    pub fit: Fit,
}

impl Refitted {
    /// Of a module's parameter.
    pub fn of(module: &str, site: &Site, fit: Fit) -> Self {
        let (parameter, shape) = (weight_or_bias(site.kind), site.shape.clone());
        Self { module: module.into(), parameter, shape, fit }
    }
}

/// A difference of two checkpoints that is not in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// Key of the tensor.
    pub key: String,
    /// Why it is not.
    pub reason: String,
    /// Frobenius norm of the difference, where there is one to speak of.
    pub norm: Option<f64>,
}

/// Several errors and norms as one: of all entries of all layers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Total {
    /// Frobenius norm of the updates.
    pub norm: f64,
    /// Frobenius norm of what is missing.
    pub error: f64,
    /// Number of trained values.
    pub parameters: usize,
}

impl Total {
    /// Of these layers.
    pub fn of(layers: &[Refitted]) -> Self {
        let root = |part: fn(&Fit) -> f64| {
            layers.iter().map(|layer| part(&layer.fit)).fold(0.0, f64::hypot)
        };
        Self {
            norm: root(|fit| fit.norm),
            error: root(|fit| fit.error),
            parameters: layers.iter().map(|layer| layer.fit.parameters).sum(),
        }
    }

    /// Error in units of the norm; nothing of nothing is not missing.
    pub fn relative(&self) -> f64 {
        relative(self.error, self.norm)
    }

    /// With what is not there at all.
    #[must_use]
    pub fn without(self, left_out: &[LeftOut]) -> Self {
        let lost = left_out.iter().filter_map(|left| left.norm).fold(0.0, f64::hypot);
        Self { norm: self.norm.hypot(lost), error: self.error.hypot(lost), ..self }
    }
}

impl Fit {
    /// Error in units of the norm; nothing of nothing is not missing.
    pub fn relative(&self) -> f64 {
        relative(self.error, self.norm)
    }
}

fn relative(error: f64, norm: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / norm }
}
