//! The dialects that hold low-rank adapters only: diffusers and PEFT.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;
use serde_json::{Value, json};

use super::{
    Dialect, Encoded, Tensors,
    config::METADATA,
    key::{DORA, DOWN, MAGNITUDE, UP},
    origin::scaled,
};
use crate::{
    FileError, cast,
    names::{Component, PEFT},
};

/// A module as these dialects know it: `W0 + alpha/rank B A`, with `W`'s rows scaled to learned norms or not.
///
/// ```text
/// down = A [rank, in, ..]    up = B [out, rank, 1..]    magnitude [out, 1..]
/// ```
pub(super) struct LowRank<'a> {
    module: &'a str,
    down: &'a TensorData,
    up: &'a TensorData,
    magnitude: Option<&'a TensorData>,
    rank: usize,
    alpha: f64,
}

/// A module's new name, its model, and its tensors.
type Named<'a> = (&'a str, Component, LowRank<'a>);

impl<'a> LowRank<'a> {
    /// Takes the module apart, or says what `to` has no place for.
    pub fn of(module: &'a str, tensors: &'a Tensors, to: Dialect) -> Result<Self, FileError> {
        let cannot_hold = |what: &str| FileError::CannotHold {
            module: module.into(),
            what: what.into(),
            dialect: to.name(),
        };
        let known = |suffix: &str| [DOWN, UP, DORA, "alpha"].contains(&suffix);
        if let Some(other) = tensors.keys().find(|suffix| !known(suffix)) {
            return Err(cannot_hold(other));
        }
        let (Some(down), Some(up)) = (tensors.get(DOWN), tensors.get(UP)) else {
            return Err(cannot_hold("a part of a low-rank adapter"));
        };
        let (&[rank, _, ..], &[out, columns, ..]) =
            (down.shape().as_slice(), up.shape().as_slice())
        else {
            return Err(cannot_hold("factors that are no matrices"));
        };
        if rank == 0 || rank != columns {
            return Err(cannot_hold("factors of different or no rank"));
        }
        let magnitude = tensors.get(DORA);
        let by_output =
            |data: &TensorData| data.shape().first() == Some(&out) && data.num_elements() == out;
        if magnitude.is_some_and(|data| !by_output(data)) {
            return Err(cannot_hold("dora_scale along the input"));
        }
        let alpha = match tensors.get("alpha") {
            Some(alpha) => cast::to_f64(Path::new(module), "alpha", alpha)?.first().copied(),
            None => None,
        };
        let alpha = alpha.unwrap_or(rank as f64);
        Ok(Self { module, down, up, magnitude, rank, alpha })
    }

    /// The tensors under the names of both dialects.
    fn store(&self, name: &str, up: TensorData, out: &mut BTreeMap<String, TensorData>) {
        out.insert(format!("{name}.lora_A.weight"), self.down.clone());
        out.insert(format!("{name}.lora_B.weight"), up);
        if let Some(magnitude) = self.magnitude {
            out.insert(format!("{name}.{MAGNITUDE}"), row(magnitude.clone()));
        }
    }
}

/// LyCORIS's `[out, 1]` as PEFT's `[out]`, and `[out, 1, 1, ..]` as `[1, out, 1, ..]`.
fn row(data: TensorData) -> TensorData {
    let mut shape = data.shape().to_vec();
    match shape.len() {
        2 => shape.truncate(1),
        3.. => shape.swap(0, 1),
        _ => return data,
    }
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape, dtype)
}

/// Alpha goes into `lora_B`: diffusers refuses files that have an `alpha`, and other readers of
/// its dialect do not know its metadata. The metadata tell diffusers what it cannot see: that
/// ranks differ, and that no rank is scaled.
pub(super) fn encode_diffusers(path: &Path, modules: &[Named<'_>]) -> Result<Encoded, FileError> {
    let mut tensors = BTreeMap::new();
    let mut models = BTreeMap::<&str, Vec<(String, &LowRank<'_>, f64)>>::new();
    for (name, _, module) in modules {
        let scale = module.alpha / module.rank as f64;
        let up = if scale == 1.0 {
            module.up.clone()
        } else {
            scaled(path, module.module, module.up, scale)?
        };
        module.store(name, up, &mut tensors);
        let (model, below) = name.split_once('.').unwrap_or(("", name));
        models.entry(model).or_default().push((below.into(), module, module.rank as f64));
    }
    let mut about = serde_json::Map::new();
    for (model, modules) in models {
        let Value::Object(config) = config(&modules, Dialect::Diffusers)? else { continue };
        about.extend(config.into_iter().map(|(key, value)| (format!("{model}.{key}"), value)));
    }
    let metadata = BTreeMap::from([
        ("format".to_string(), "pt".to_string()),
        (METADATA.to_string(), Value::Object(about).to_string()),
    ]);
    Ok(Encoded { tensors, metadata, adapter_config: None })
}

/// Alpha goes into the configuration, which describes one model.
pub(super) fn encode_peft(path: &Path, modules: &[Named<'_>]) -> Result<Encoded, FileError> {
    let mut tensors = BTreeMap::new();
    let mut paths = Vec::new();
    let model = modules.first().map(|(_, component, _)| *component);
    for (name, component, module) in modules {
        if model != Some(*component) {
            return Err(FileError::NoSpelling {
                module: module.module.into(),
                dialect: Dialect::Peft.name(),
                remedy: "PEFT's files hold one model and this one several, choose --to diffusers",
            });
        }
        module.store(name, module.up.clone(), &mut tensors);
        let below = name.strip_prefix(PEFT).unwrap_or(name);
        paths.push((below.to_string(), module, module.alpha));
    }
    let mut config = config(&paths, Dialect::Peft)?;
    config["peft_type"] = json!("LORA");
    config["task_type"] = Value::Null;
    config["base_model_name_or_path"] = Value::Null;
    config["inference_mode"] = json!(true);
    let text = serde_json::to_string_pretty(&config)
        .map_err(|e| FileError::Config { path: path.into(), reason: e.to_string() })?;
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    Ok(Encoded { tensors, metadata, adapter_config: Some(text) })
}

/// The arguments of PEFT's `LoraConfig` for one model: path, tensors and alpha of each module.
fn config(modules: &[(String, &LowRank<'_>, f64)], to: Dialect) -> Result<Value, FileError> {
    let decomposed = modules.iter().filter(|(_, module, _)| module.magnitude.is_some()).count();
    if let Some((_, plain, _)) = modules.iter().find(|(_, module, _)| module.magnitude.is_none())
        && decomposed > 0
    {
        return Err(FileError::CannotHold {
            module: plain.module.into(),
            what: "no dora_scale where others have one".into(),
            dialect: to.name(),
        });
    }
    let ranks: Vec<f64> = modules.iter().map(|(_, module, _)| module.rank as f64).collect();
    let alphas: Vec<f64> = modules.iter().map(|(_, _, alpha)| *alpha).collect();
    let (rank, alpha) = (most_common(&ranks), most_common(&alphas));
    let differing = |values: &[f64], usual: f64| {
        let pairs = modules.iter().zip(values).filter(|(_, value)| **value != usual);
        pairs.map(|((path, ..), value)| (pattern(path), number(*value))).collect::<Value>()
    };
    let mut targets: Vec<&str> = modules.iter().map(|(path, ..)| target(path)).collect();
    targets.sort_unstable();
    Ok(json!({
        "r": number(rank),
        "lora_alpha": number(alpha),
        "rank_pattern": differing(&ranks, rank),
        "alpha_pattern": differing(&alphas, alpha),
        "target_modules": targets,
        "use_dora": decomposed > 0,
        "use_rslora": false,
        "lora_dropout": 0.0,
        "fan_in_fan_out": false,
        "bias": "none",
        "init_lora_weights": true,
    }))
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
