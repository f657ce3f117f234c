//! PEFT's files: one algorithm for all modules of one model, alpha in a configuration.

mod loha;
mod lokr;

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;
use serde_json::{Map, Value, json};

use super::{
    Dialect, Encoded,
    config::Config,
    encoded::Renamed,
    low_rank,
    module::Module,
    options::Written,
    origin::{Incoming, Origin},
};
use crate::FileError;

/// The algorithms that are PEFT's as well as LyCORIS's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Lora,
    Loha,
    Lokr,
}

impl Form {
    fn of(module: &Module) -> Self {
        let any = |begin: &str| module.tensors.keys().any(|key| key.starts_with(begin));
        match () {
            () if any("hada_") => Self::Loha,
            () if any("lokr_") => Self::Lokr,
            () => Self::Lora,
        }
    }

    /// As PEFT calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Lora => "LORA",
            Self::Loha => "LOHA",
            Self::Lokr => "LOKR",
        }
    }

    fn encode(self, modules: &[Module]) -> Result<Written, FileError> {
        match self {
            Self::Lora => low_rank::encode_peft(modules),
            Self::Loha => loha::encode(modules),
            Self::Lokr => lokr::encode(modules),
        }
    }
}

/// The file at `path` as PEFT's.
///
/// # Errors
/// When it is of several models or algorithms, or PEFT has no place for a tensor.
pub(super) fn encode(
    path: &Path,
    renamed: &Renamed,
    modules: &[Module],
) -> Result<Encoded, FileError> {
    let mut models = renamed.values().map(|(module, component, _)| (module, component));
    if let Some((_, first)) = models.next()
        && let Some((module, _)) = models.find(|(_, component)| *component != first)
    {
        return Err(FileError::NoSpelling {
            path: path.into(),
            module: module.to_string(),
            dialect: Dialect::Peft.name(),
            remedy: "PEFT's files hold one model and this one several, choose --to diffusers",
        });
    }
    let form = modules.first().map_or(Form::Lora, Form::of);
    if let Some(other) = modules.iter().find(|module| Form::of(module) != form) {
        let what = format!("{} beside {}", Form::of(other).name(), form.name());
        return Err(other.cannot_hold(what));
    }
    let (tensors, options) = form.encode(modules)?;
    let mut config = Map::from_iter([("peft_type".to_string(), json!(form.name()))]);
    config.extend(options);
    let rest = [
        ("task_type", Value::Null),
        ("base_model_name_or_path", Value::Null),
        ("inference_mode", json!(true)),
    ];
    config.extend(rest.map(|(name, value)| (name.to_string(), value)));
    let text = serde_json::to_string_pretty(&config)
        .map_err(|e| FileError::Config { path: path.into(), reason: e.to_string() })?;
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    Ok(Encoded { tensors, metadata, adapter_config: Some(text) })
}

/// Puts a module in LyCORIS's terms. Its configuration, and its path there, give it an alpha where the
/// file has none.
///
/// # Errors
/// When it acts in PEFT as no update of its layer's weight does.
pub(super) fn decode(
    mut module: Incoming,
    config: Option<(&Config, &str)>,
) -> Result<(), FileError> {
    let config = config.filter(|_| !module.tensors.contains_key("alpha"));
    let rank = low_rank::decode(&module)?;
    let is_scaled = lokr::decode(&mut module, config.and_then(|(it, path)| it.scale(path)))?;
    let alpha = config.filter(|_| !is_scaled).and_then(|(it, path)| it.alpha(path, rank));
    module.tensors.extend(alpha.map(|alpha| ("alpha".to_string(), Origin::Number(alpha))));
    Ok(())
}

/// What LoHa and LoKr have among their options besides rank, alpha and modules.
fn extend(options: &mut Map<String, Value>, has_cores: bool) {
    let rest = [
        ("use_effective_conv2d", json!(has_cores)),
        ("rank_dropout", json!(0.0)),
        ("module_dropout", json!(0.0)),
        ("init_weights", json!(true)),
    ];
    options.extend(rest.map(|(name, value)| (name.to_string(), value)));
}

/// A Tucker core: PEFT's has two axes of taps, of which that of a one-dimensional kernel has size 1.
fn core(module: &Module, key: &str, data: &TensorData) -> Result<TensorData, FileError> {
    let mut shape = data.shape().to_vec();
    match shape.len() {
        4 => return Ok(data.clone()),
        3 => shape.push(1),
        _ => return Err(module.cannot_hold(format!("{key} of shape {shape:?}"))),
    }
    let (bytes, _, dtype) = data.clone().into_parts();
    Ok(TensorData::from_bytes(bytes, shape, dtype))
}
