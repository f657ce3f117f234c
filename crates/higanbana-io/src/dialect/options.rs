//! The options by which PEFT and diffusers tell which modules are adapted, at what rank and alpha.

use serde_json::{Map, Value, json};

/// The options of one model: the paths of its modules, and the rank and alpha of each where they have
/// them. Alpha's own name depends on the algorithm.
pub(super) fn options(
    paths: &[&str],
    scales: &[(usize, f64)],
    alpha_name: &str,
) -> Map<String, Value> {
    let ranks: Vec<f64> = scales.iter().map(|(rank, _)| *rank as f64).collect();
    let alphas: Vec<f64> = scales.iter().map(|(_, alpha)| *alpha).collect();
    let (rank, alpha) = (most_common(&ranks), most_common(&alphas));
    let differing = |values: &[f64], usual: f64| {
        let pairs = paths.iter().zip(values).filter(|(_, value)| **value != usual);
        pairs.map(|(path, value)| (pattern(path), number(*value))).collect::<Value>()
    };
    let scales = [
        ("r", number(rank)),
        (alpha_name, number(alpha)),
        ("rank_pattern", differing(&ranks, rank)),
        ("alpha_pattern", differing(&alphas, alpha)),
    ];
    let mut targets: Vec<&str> = paths.iter().map(|path| target(path)).collect();
    targets.sort_unstable();
    let scales = scales.into_iter().filter(|_| !ranks.is_empty());
    let all = scales.chain([("target_modules", json!(targets))]);
    all.map(|(name, value)| (name.to_string(), value)).collect()
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
