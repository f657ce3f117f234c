//! Chapter one: does every adapter act as LyCORIS's own does?
//!
//! LyCORIS 4.1.3 saved one file for each algorithm and set of options, and the weights that its
//! forward pass acts with (`tests/reference` has the script). Here each file is read, applied to the
//! same base, and compared.

mod fixtures;

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{AdapterError, Condition, DynAdapter, Parts, Registry, Site, spectrum};
use higanbana_io::lycoris_name;
use serde::{Deserialize, Serialize};

use crate::numbers::Numbers;
pub use fixtures::{Case, Fixtures, Reload};

/// Deviation that rounding alone makes of weights in `f32`.
pub const FLOOR: f64 = 1e-7;

/// Of which kinds the numbers of a [`Row`] are: what is measured, and what the fixtures say of LyCORIS.
pub const NUMBERS: &[Numbers] = &[
    Numbers {
        keys: &["deviation"],
        floor: FLOOR,
        absolute: 2.0 * FLOOR,
        relative: 0.1,
        ..Numbers::COMPUTED
    },
    Numbers { keys: &["reload"], ..Numbers::GIVEN },
];

/// One case compared with LyCORIS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the case.
    pub case: String,
    /// Algorithm that wrote the file.
    pub algorithm: String,
    /// Algorithm that the file is taken for.
    pub detected: String,
    /// Options, as LyCORIS names them.
    pub options: String,
    /// Number of weights compared.
    pub weights: usize,
    /// Largest $\lVert W - W_{ref} \rVert_F / \lVert W_{ref} \rVert_F$.
    pub deviation: f64,
    /// Trained values, over all layers.
    pub parameters: usize,
    /// Rank bound of the update of the layer with the largest one.
    pub rank_bound: usize,
    /// Measured rank of the same update.
    pub rank: usize,
    /// Homogeneity degree of the update.
    pub degree: String,
    /// Whether LyCORIS itself can reload the file.
    pub reload: Reload,
    /// Whether the factors that training began from were read from a file of ours beside it: LyCORIS
    /// does not save them, and its file alone does not tell them.
    #[serde(default)]
    pub start_beside: bool,
}

/// What went wrong with a case.
#[derive(Debug, thiserror::Error)]
pub enum ChapterError {
    /// An adapter could not be read.
    #[error("{case}: {source}")]
    Adapter {
        /// Name of the case.
        case: String,
        /// The reason.
        source: AdapterError,
    },
    /// The files contradict their manifest.
    #[error("{case}: {reason}")]
    Fixture {
        /// Name of the case.
        case: String,
        /// What does not fit.
        reason: String,
    },
}

/// Compares every case on `device`, in f32.
///
/// # Errors
/// When a file cannot be read as the manifest says.
pub fn run(
    registry: &Registry,
    device: &Device,
    mut progress: impl FnMut(&str),
) -> Result<Vec<Row>, ChapterError> {
    let fixtures = Fixtures::committed();
    fixtures
        .cases
        .iter()
        .map(|case| {
            progress(&case.name);
            compare(&fixtures, case, registry, device)
        })
        .collect()
}

fn compare(
    fixtures: &Fixtures,
    case: &Case,
    registry: &Registry,
    device: &Device,
) -> Result<Row, ChapterError> {
    let fixture = |reason: String| ChapterError::Fixture { case: case.name.clone(), reason };
    let tensors = fixtures.tensors(case);
    let expected = fixtures.expected(case);
    let mut row = Row {
        case: case.name.clone(),
        algorithm: case.algorithm.clone(),
        detected: String::new(),
        options: case.options.clone(),
        weights: 0,
        deviation: 0.0,
        parameters: 0,
        rank_bound: 0,
        rank: 0,
        degree: String::new(),
        reload: case.reload.clone(),
        start_beside: case.start.is_some(),
    };
    for layer in &case.layers {
        let module = lycoris_name(layer);
        let tensors = tensors.get(&module).ok_or_else(|| fixture(format!("no {module}")))?;
        for (key, site) in fixtures.sites(layer) {
            let Some(detected) = registry.detect(site.kind, tensors) else { continue };
            // A file of nested ranks has the keys of the plain algorithm, and is detected as one.
            let kind = registry.get(&case.algorithm).unwrap_or(detected);
            let w0 = fixtures.base(&key, &site, device);
            let parts = Parts::new(&module, tensors, device, DType::F32).with_base(&w0);
            let adapter = kind
                .read(&site, &parts)
                .map_err(|source| ChapterError::Adapter { case: case.name.clone(), source })?;
            row.detected = detected.name().into();
            row.parameters += adapter.parameter_count(&site);
            row.degree = adapter.degree().to_string();
            measure_rank(&mut row, &adapter, &site, &w0)
                .map_err(|error| fixture(error.to_string()))?;
            compare_weights(&mut row, case, &adapter, &site, &key, &w0, &expected);
        }
    }
    if row.weights != expected.len() {
        let reason = format!("{} of {} weights compared", row.weights, expected.len());
        return Err(fixture(reason));
    }
    Ok(row)
}

/// Compares `W(μ)`, and `W(1)` under a condition, with what LyCORIS's forward pass acts with.
fn compare_weights(
    row: &mut Row,
    case: &Case,
    adapter: &DynAdapter,
    site: &Site,
    key: &str,
    w0: &Tensor<2>,
    expected: &BTreeMap<String, burn::tensor::TensorData>,
) {
    for (name, data) in expected
        .iter()
        .filter(|(name, _)| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('@')))
    {
        let (strength, condition) = setting(case, &name[key.len() + 1..]);
        let mut adapter = adapter.clone();
        adapter.condition(&condition);
        let weight = w0.clone() + adapter.update_at(site, w0, strength);
        let reference = fixtures::matrix(data, site, &w0.device());
        let deviation = spectrum::relative_error(&weight, &reference);
        row.weights += 1;
        // No number is as far away as can be.
        row.deviation = if deviation.is_nan() { f64::MAX } else { row.deviation.max(deviation) };
    }
}

/// What stands behind the `@` of an expected weight: a strength, a prefix of the rank, or the
/// number of ranks that a timestep mask leaves.
fn setting(case: &Case, text: &str) -> (f64, Condition) {
    match text.split_once('=') {
        None => (text.parse().expect("a strength"), Condition::default()),
        Some(("rank", rank)) => (1.0, Condition::with_rank(rank.parse().expect("a rank"))),
        Some((_, active)) => (1.0, Condition::at([case.masks[active]], 1000.0)),
    }
}

fn measure_rank(
    row: &mut Row,
    adapter: &DynAdapter,
    site: &Site,
    w0: &Tensor<2>,
) -> Result<(), spectrum::SpectrumError> {
    let bound = adapter.rank_bound(site);
    let values = spectrum::singular_values(&adapter.update_at(site, w0, 1.0))?;
    // Rounding of the f32 update leaves singular values of the order of ε ‖ΔW‖.
    let eps = 8.0 * f64::from(f32::EPSILON);
    let rank = spectrum::numerical_rank(&values, site.out(), site.cols(), eps);
    if (bound, rank) > (row.rank_bound, row.rank) {
        (row.rank_bound, row.rank) = (bound, rank);
    }
    Ok(())
}
