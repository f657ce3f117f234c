//! The measures of every layer of an adapter file: `higanbana rank`.

mod view;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{
    AdapterError, Registry, Site,
    spectrum::{self, SpectrumError},
};
use higanbana_io::{
    Leftover,
    apply::{ApplyError, Resolved, Survey},
    lossy,
};
use serde::Serialize;

use crate::measures::Measures;

/// Bounds of likeness below which a direction counts as an intruder.
const EPSILONS: [f64; 5] = [0.3, 0.4, 0.5, 0.6, 0.7];

/// Directions among which intruders are counted, and whose angles are taken.
const LEADING: usize = 16;

/// The measures of a file.
#[derive(Debug, Serialize)]
pub struct FileRanks {
    /// The file.
    #[serde(serialize_with = "lossy::path")]
    pub file: PathBuf,
    /// The base model, if one was given.
    #[serde(serialize_with = "lossy::option")]
    pub base: Option<PathBuf>,
    /// How it spells its names.
    pub dialect: &'static str,
    /// One for each adapted parameter.
    pub layers: Vec<Layer>,
    /// Of all of them together.
    pub total: Total,
    /// Parameters whose update could not be computed, and why.
    pub unknown: Vec<Leftover>,
    /// Modules and tensors that are not understood, or do not fit the base.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

/// The update of one parameter at strength 1.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// The module's name in the file; a bias has `.bias` behind it.
    pub name: String,
    /// Its algorithm.
    pub algorithm: &'static str,
    /// Shape of the parameter.
    pub shape: Vec<usize>,
    /// Trained values.
    pub parameters: usize,
    /// Largest rank that the update can have.
    pub rank_bound: usize,
    /// Of the matrix `[out, in·K]`.
    #[serde(flatten)]
    pub measures: Measures,
    /// Of a convolution along its other axes: `input` as `[in, out·K]`, `kernel` as `[K, out·in]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unfoldings: BTreeMap<&'static str, Measures>,
    /// Against the base weight, if that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_base: Option<AgainstBase>,
}

/// An update beside the weight that it updates.
#[derive(Debug, Clone, Serialize)]
pub struct AgainstBase {
    /// $\lVert \Delta W \rVert_F / \lVert W_0 \rVert_F$.
    pub relative_frobenius: f64,
    /// $\lVert \Delta W \rVert_2 / \lVert W_0 \rVert_2$.
    pub relative_spectral: f64,
    /// Intruder dimensions among the first [`AgainstBase::leading`] of $W$, by the bound of likeness.
    pub intruders: Vec<(f64, usize)>,
    /// Smallest angle between the leading left singular vectors of $\Delta W$ and of $W_0$, in degrees; none where
    /// either is zero.
    pub smallest_angle: Option<f64>,
    /// How many leading directions that is about.
    pub leading: usize,
}

/// Measures of a file as a whole.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Total {
    /// Number of parameters that are adapted and measured.
    pub layers: usize,
    /// Trained values.
    pub parameters: usize,
    /// Sum of the ranks.
    pub rank: usize,
    /// Sum of the bounds.
    pub rank_bound: usize,
    /// Mean of the stable ranks.
    pub stable_rank: f64,
    /// Mean of the effective ranks.
    pub effective_rank: f64,
    /// Frobenius norm of all updates together.
    pub frobenius: f64,
    /// Largest spectral norm.
    pub spectral: f64,
}

/// Why a file cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// It cannot be read.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// An update has no spectrum.
    #[error("{}: {reason}", path.display())]
    Spectrum {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        reason: AdapterError,
    },
}

/// Measures every layer of the file at `path`, in `f64`.
///
/// # Errors
/// When a file cannot be read, a module contradicts itself or the base, or an update is not finite.
pub fn measure(
    path: &Path,
    base: Option<&Path>,
    registry: &Registry,
    device: &Device,
    progress: impl Fn(&str, usize),
) -> Result<FileRanks, SurveyError> {
    let survey = Survey { path, base, registry, device, dtype: DType::F64 };
    let (mut layers, mut unknown) = (Vec::new(), Vec::new());
    let overview = survey.run(progress, |it, found| {
        let name = match found.at.is_bias() {
            true => format!("{}.bias", it.module),
            false => it.module.to_string(),
        };
        let Some(resolved) = &found.resolved else {
            let reason = match base {
                None => "its update is not known without the base; give --base FILE",
                Some(_) => "the base does not have it",
            };
            unknown.push(Leftover { name, reason: reason.into(), harmless: false });
            return Ok(());
        };
        let against = found.parameter.is_some();
        let layer = Layer::of(name, found.kind.name(), resolved, against).map_err(|error| {
            let reason = AdapterError::numeric(&resolved.site, error);
            SurveyError::Spectrum { path: path.into(), reason }
        })?;
        layers.push(layer);
        Ok::<_, SurveyError>(())
    })?;
    Ok(FileRanks {
        file: path.into(),
        base: base.map(Into::into),
        dialect: overview.dialect,
        total: Total::of(&layers),
        layers,
        unknown,
        leftovers: overview.leftovers,
        notes: overview.notes,
    })
}

impl Layer {
    fn of(
        name: String,
        algorithm: &'static str,
        resolved: &Resolved,
        against: bool,
    ) -> Result<Self, SpectrumError> {
        let Resolved { site, adapter, w0 } = resolved;
        let update = resolved.update(1.0);
        let rank_bound = adapter.rank_bound(site);
        Ok(Self {
            name,
            algorithm,
            shape: site.shape.clone(),
            parameters: adapter.parameter_count(site),
            rank_bound,
            measures: Measures::of(&update, rank_bound)?,
            unfoldings: unfoldings(site, &update)?,
            against_base: against.then(|| AgainstBase::of(&update, w0, rank_bound)).transpose()?,
        })
    }
}

/// A kernel's other two unfoldings. No bound is known of them: they are as small as the axis they have.
fn unfoldings(
    site: &Site,
    update: &Tensor<2>,
) -> Result<BTreeMap<&'static str, Measures>, SpectrumError> {
    let mut found = BTreeMap::new();
    if site.has_taps() {
        let [out, input, taps] = [site.out(), site.input(), site.taps()];
        let cube = update.clone().reshape([out, input, taps]);
        let by_input = cube.clone().swap_dims(0, 1).reshape([input, out * taps]);
        let by_tap = cube.reshape([out * input, taps]);
        found.insert("input", Measures::of(&by_input, input)?);
        found.insert("kernel", Measures::of(&by_tap, taps)?);
    }
    Ok(found)
}

impl AgainstBase {
    fn of(update: &Tensor<2>, w0: &Tensor<2>, bound: usize) -> Result<Self, SpectrumError> {
        let (base, tuned) = (spectrum::svd(w0)?, spectrum::svd(&(w0.clone() + update.clone()))?);
        let change = spectrum::svd(update)?;
        let leading = LEADING.min(base.s.len());
        let counts = spectrum::intruder_dimensions(&base, &tuned, leading, &EPSILONS);
        let angles = spectrum::leading_angles(&change, &base, leading.min(bound))?;
        Ok(Self {
            relative_frobenius: ratio(spectrum::frobenius_norm, &change.s, &base.s),
            relative_spectral: ratio(spectrum::spectral_norm, &change.s, &base.s),
            intruders: EPSILONS.into_iter().zip(counts).collect(),
            smallest_angle: angles.first().map(|angle| angle.to_degrees()),
            leading,
        })
    }
}

/// The quotient of two norms; 0 of nothing, infinite, and so null in JSON, of something beside nothing.
fn ratio(norm: fn(&[f64]) -> f64, change: &[f64], base: &[f64]) -> f64 {
    match norm(change) {
        0.0 => 0.0,
        size => size / norm(base),
    }
}

impl Total {
    fn of(layers: &[Layer]) -> Self {
        let sum = |of: &dyn Fn(&Layer) -> f64| layers.iter().map(of).sum::<f64>();
        let count = layers.len().max(1) as f64;
        Self {
            layers: layers.len(),
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            rank: layers.iter().map(|layer| layer.measures.rank).sum(),
            rank_bound: layers.iter().map(|layer| layer.rank_bound).sum(),
            stable_rank: sum(&|layer| layer.measures.stable_rank) / count,
            effective_rank: sum(&|layer| layer.measures.effective_rank) / count,
            frobenius: sum(&|layer| layer.measures.frobenius.powi(2)).sqrt(),
            spectral: layers.iter().map(|layer| layer.measures.spectral).fold(0.0, f64::max),
        }
    }
}
