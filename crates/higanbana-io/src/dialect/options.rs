//! The options by which PEFT and diffusers tell which modules are adapted, at what rank and alpha.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use serde_json::{Map, Value, json};

/// The tensors of a PEFT file, and the options of its configuration.
pub(super) type Written = (BTreeMap<String, TensorData>, Map<String, Value>);

/// One module of a model.
pub(super) struct Adapted<'a> {
    pub path: &'a str,
    pub rank: usize,
    pub alpha: f64,
}

/// The options of one model's modules. LoRA's alpha has a name of its own.
pub(super) fn options(modules: &[Adapted], alpha_name: &str) -> Map<String, Value> {
    let ranks: Vec<f64> = modules.iter().map(|module| module.rank as f64).collect();
    let alphas: Vec<f64> = modules.iter().map(|module| module.alpha).collect();
    let (rank, alpha) = (most_common(&ranks), most_common(&alphas));
    let differing = |values: &[f64], usual: f64| {
        let pairs = modules.iter().zip(values).filter(|(_, value)| **value != usual);
        pairs.map(|(module, value)| (pattern(module.path), number(*value))).collect::<Value>()
    };
    let mut targets: Vec<&str> = modules.iter().map(|module| target(module.path)).collect();
    targets.sort_unstable();
    let options = [
        ("r", number(rank)),
        (alpha_name, number(alpha)),
        ("rank_pattern", differing(&ranks, rank)),
        ("alpha_pattern", differing(&alphas, alpha)),
        ("target_modules", json!(targets)),
    ];
    options.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// A module as PEFT finds it: by the end of its path. transformers 5 has dropped the outermost
/// module of CLIP's text encoder, earlier releases have it.
fn target(path: &str) -> &str {
    path.strip_prefix("text_model.").unwrap_or(path)
}

/// A pattern for one module; `^` keeps its path from fitting the end of a longer one.
fn pattern(path: &str) -> String {
    match target(path) {
        end if end == path => format!("^{path}"),
        end => end.into(),
    }
}

/// The value that occurs most often; the smallest of several.
fn most_common(values: &[f64]) -> f64 {
    let count = |x: f64| values.iter().filter(|&&y| y == x).count();
    let best =
        values.iter().copied().max_by(|&a, &b| count(a).cmp(&count(b)).then(b.total_cmp(&a)));
    best.unwrap_or(1.0)
}

/// Whole numbers without a decimal point: ranks are integers to PEFT.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 2f64.powi(53) { json!(x as i64) } else { json!(x) }
}
