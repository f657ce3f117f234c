//! The committed files of LyCORIS, embedded so that the chapter runs anywhere.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_core::{Site, SiteKind, Tensors};
use include_dir::{Dir, include_dir};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;

static FILES: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../tests/reference/lycoris");

/// Whether LyCORIS reloads its own file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// To the same weights.
    Exact,
    /// To others, this far away in relative Frobenius norm.
    Deviates(f64),
    /// Not at all; its message.
    Error(String),
}

/// One file of LyCORIS.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name, and stem of the files.
    pub name: String,
    /// Algorithm that wrote it.
    pub algorithm: String,
    /// Options, as LyCORIS names them.
    pub options: String,
    /// Layers that it adapts.
    pub layers: Vec<String>,
    /// Whether LyCORIS reloads it.
    pub reload: Reload,
    /// For a number of T-LoRA's ranks a timestep of 1000 that leaves so many.
    pub masks: BTreeMap<String, f64>,
    /// A file with the factors that training began from, which LyCORIS does not save.
    pub start: Option<String>,
}

/// The base model and every case.
#[derive(Debug)]
pub struct Fixtures {
    /// The cases, in the order of the manifest.
    pub cases: Vec<Case>,
    layers: Value,
    base: BTreeMap<String, TensorData>,
}

impl Fixtures {
    /// The files of `tests/reference/lycoris`.
    ///
    /// # Panics
    /// When they are not what their script writes.
    pub fn committed() -> Self {
        let manifest: Vec<Value> = serde_json::from_slice(file("manifest.json")).expect("JSON");
        Self {
            cases: manifest.iter().map(case).collect(),
            layers: serde_json::from_slice(file("layers.json")).expect("JSON"),
            base: read("base.safetensors"),
        }
    }

    /// Tensors of the file by module.
    pub fn tensors(&self, case: &Case) -> BTreeMap<String, Tensors> {
        let mut modules = BTreeMap::<String, Tensors>::new();
        let further = case.start.as_deref().map(read).unwrap_or_default();
        for (key, data) in read(&format!("{}.safetensors", case.name)).into_iter().chain(further) {
            let (module, key) = key.split_once('.').expect("module.key");
            modules.entry(module.into()).or_default().insert(key.into(), data);
        }
        modules
    }

    /// What LyCORIS's forward pass acts with: `layer.weight@strength` and the like.
    pub fn expected(&self, case: &Case) -> BTreeMap<String, TensorData> {
        read(&format!("{}.expected.safetensors", case.name))
    }

    /// The parameters of a layer with their keys.
    pub fn sites(&self, layer: &str) -> Vec<(String, Site)> {
        let (weight, bias) = match self.layers[layer]["kind"].as_str().expect("a kind") {
            "Linear" => (SiteKind::Linear, SiteKind::Bias),
            "Conv1d" => (SiteKind::Conv1d, SiteKind::Bias),
            "Conv2d" => (SiteKind::Conv2d, SiteKind::Bias),
            "Conv3d" => (SiteKind::Conv3d, SiteKind::Bias),
            _ => (SiteKind::Norm, SiteKind::NormBias),
        };
        [("weight", weight), ("bias", bias)]
            .into_iter()
            .filter_map(|(name, kind)| {
                let key = format!("{layer}.{name}");
                let shape = self.base.get(&key)?.shape().as_slice().to_vec();
                Some((key, Site::new(layer, kind, shape)))
            })
            .collect()
    }

    /// A parameter of the base model as `[out, in·K]`.
    pub fn base(&self, key: &str, site: &Site, device: &Device) -> Tensor<2> {
        matrix(&self.base[key], site, device)
    }
}

/// File data as `[out, in·K]` in f32.
pub fn matrix(data: &TensorData, site: &Site, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = data.iter::<f32>().collect();
    let data = TensorData::new(values, [site.out(), site.cols()]);
    Tensor::from_data(data, (device, DType::F32))
}

fn case(entry: &Value) -> Case {
    let text = |key: &str| entry[key].as_str().map(String::from);
    Case {
        name: text("case").expect("a name"),
        algorithm: text("algorithm").expect("an algorithm"),
        options: options(&entry["options"], entry["saved_dtype"].as_str()),
        layers: serde_json::from_value(entry["layers"].clone()).expect("layers"),
        reload: match entry["reload"].as_str() {
            Some("exact") => Reload::Exact,
            Some("deviates") => Reload::Deviates(entry["reload_deviation"].as_f64().unwrap_or(1.0)),
            _ => Reload::Error(text("reload_error").unwrap_or_default()),
        },
        masks: serde_json::from_value(entry["masks"].clone()).unwrap_or_default(),
        start: text("base_file"),
    }
}

fn options(options: &Value, dtype: Option<&str>) -> String {
    let half = dtype.filter(|dtype| dtype.ends_with("16")).map(|dtype| format!("saved as {dtype}"));
    let options = options.as_object().into_iter().flatten();
    options
        .map(|(name, value)| match value {
            Value::Bool(true) => name.clone(),
            value => format!("{name}={}", value.to_string().trim_matches('"')),
        })
        .chain(half)
        .collect::<Vec<_>>()
        .join(" ")
}

fn file(name: &str) -> &'static [u8] {
    FILES.get_file(name).unwrap_or_else(|| panic!("{name} is embedded")).contents()
}

fn read(name: &str) -> BTreeMap<String, TensorData> {
    let tensors = SafeTensors::deserialize(file(name)).expect("safetensors");
    tensors
        .iter()
        .map(|(key, view)| {
            let dtype = higanbana_io::burn_dtype(view.dtype()).expect("a float or integer type");
            let data =
                TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
            (key.to_string(), data)
        })
        .collect()
}
