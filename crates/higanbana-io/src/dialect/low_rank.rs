//! Low-rank adapters as diffusers and PEFT write them.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;
use serde_json::{Map, Value, json};

use super::{
    Encoded,
    config::METADATA,
    key::{DOWN, MAGNITUDE, NORMS, UP},
    module::Module,
    options::{Adapted, Written, options},
    origin::{Incoming, scaled},
};
use crate::FileError;

/// The algorithm that every dialect holds, as options call it.
pub(crate) const HELD_BY_ALL: &str = "lora";

/// A module as these dialects know it: `W0 + alpha/rank B A`, with `W`'s rows scaled to learned norms or not.
///
/// ```text
/// down = A [rank, in, ..]    up = B [out, rank, 1..]    magnitude [out, 1..]
/// ```
struct LowRank<'a> {
    module: &'a Module<'a>,
    down: &'a TensorData,
    up: &'a TensorData,
    magnitude: Option<&'a TensorData>,
    rank: usize,
    alpha: f64,
}

impl<'a> LowRank<'a> {
    /// Takes the module apart, or says what the dialect has no place for.
    fn of(module: &'a Module<'a>) -> Result<Self, FileError> {
        let tensors = module.tensors;
        module.expect_only(&[DOWN, UP, NORMS])?;
        let (Some(down), Some(up)) = (tensors.get(DOWN), tensors.get(UP)) else {
            return Err(module.cannot_hold("a part of a low-rank adapter"));
        };
        let (&[rank, _, ..], &[out, columns, ..]) =
            (down.shape().as_slice(), up.shape().as_slice())
        else {
            return Err(module.cannot_hold("factors that are no matrices"));
        };
        if rank == 0 || rank != columns {
            return Err(module.cannot_hold("factors of different or no rank"));
        }
        let magnitude = tensors.get(NORMS);
        let by_output =
            |data: &TensorData| data.shape().first() == Some(&out) && data.num_elements() == out;
        if magnitude.is_some_and(|data| !by_output(data)) {
            return Err(module.cannot_hold("dora_scale along the input"));
        }
        Ok(Self { module, down, up, magnitude, rank, alpha: module.alpha(rank)? })
    }

    /// The tensors under the names of both dialects.
    fn store(&self, up: TensorData, out: &mut BTreeMap<String, TensorData>) {
        let name = self.module.name;
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
pub(super) fn encode_diffusers(path: &Path, modules: &[Module]) -> Result<Encoded, FileError> {
    let mut tensors = BTreeMap::new();
    let mut models = BTreeMap::<&str, Vec<(LowRank, &str, f64)>>::new();
    for module in modules {
        let low_rank = LowRank::of(module)?;
        let rank = low_rank.rank as f64;
        let scale = low_rank.alpha / rank;
        let up = if scale == 1.0 {
            low_rank.up.clone()
        } else {
            scaled(path, module.own, low_rank.up, scale)?
        };
        low_rank.store(up, &mut tensors);
        let (model, below) = module.name.split_once('.').unwrap_or(("", module.name));
        models.entry(model).or_default().push((low_rank, below, rank));
    }
    let mut about = Map::new();
    for (model, modules) in models {
        let config = config(&modules)?;
        about.extend(config.into_iter().map(|(key, value)| (format!("{model}.{key}"), value)));
    }
    let metadata = BTreeMap::from([
        ("format".to_string(), "pt".to_string()),
        (METADATA.to_string(), Value::Object(about).to_string()),
    ]);
    Ok(Encoded { tensors, metadata, adapter_config: None })
}

/// The rank of a module of a file, if it is of low rank.
pub(super) fn decode(module: &Incoming) -> Result<Option<usize>, FileError> {
    let rank = module.shape(DOWN).first().copied();
    match (rank, module.shape(UP)) {
        // B has the groups of the layer, r / groups columns each; A has none and sees all channels.
        (Some(rank), &[_, columns, _, ..]) if columns < rank && rank.is_multiple_of(columns) => {
            Err(module.refuse(
                "a LoRA of a grouped convolution as PEFT builds it, where every group sees the \
                 channels of all, as no weight of that layer does (PEFT cannot merge it either); \
                 leave the layer out, or train it with LyCORIS",
            ))
        }
        _ => Ok(rank),
    }
}

/// PEFT's tensors and options: alpha is among the options.
pub(super) fn encode_peft(modules: &[Module]) -> Result<Written, FileError> {
    let mut tensors = BTreeMap::new();
    let mut known = Vec::new();
    for module in modules {
        let low_rank = LowRank::of(module)?;
        low_rank.store(low_rank.up.clone(), &mut tensors);
        let alpha = low_rank.alpha;
        known.push((low_rank, module.path(), alpha));
    }
    Ok((tensors, config(&known)?))
}

/// The arguments of PEFT's `LoraConfig` for one model: tensors, path and alpha of each module.
fn config(modules: &[(LowRank, &str, f64)]) -> Result<Map<String, Value>, FileError> {
    let is_decomposed = modules.iter().any(|(module, ..)| module.magnitude.is_some());
    let plain = modules.iter().find(|(module, ..)| module.magnitude.is_none());
    if let Some((plain, ..)) = plain.filter(|_| is_decomposed) {
        return Err(plain.module.cannot_hold("no dora_scale where others have one"));
    }
    let adapted = modules.iter().map(|(module, path, alpha)| {
        let rank = module.rank;
        Adapted { path, rank, alpha: *alpha }
    });
    let mut config = options(&adapted.collect::<Vec<_>>(), "lora_alpha");
    let rest = [
        ("use_dora", json!(is_decomposed)),
        ("use_rslora", json!(false)),
        ("lora_dropout", json!(0.0)),
        ("fan_in_fan_out", json!(false)),
        ("bias", json!("none")),
        ("init_lora_weights", json!(true)),
    ];
    config.extend(rest.map(|(name, value)| (name.to_string(), value)));
    Ok(config)
}
