//! Writes the adapter files that `tests/reference/check_written.py` hands to LyCORIS.
//!
//! ```text
//! cargo run --release -p higanbana --example write_files -- OUT
//! ```
//!
//! * `rewritten/CASE.safetensors`: each committed file of LyCORIS, read as adapters and written again;
//! * `extracted/ALGORITHM.safetensors`: taken from two checkpoints, and
//!   `extracted/ALGORITHM.merged.safetensors`, the model that it makes of the first of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use burn::tensor::{DType, Device, TensorData};
use higanbana::{
    adapters::registry,
    core::Budget,
    io::{
        AdapterFile, AdapterReader, Checkpoint, Dialect, Merge, Names, Source,
        apply::{ModuleReader, Parameter},
        cast::cast,
        dialect::{Encoded, Network},
        refit::{Choice, Extract},
        writer::write_tensors,
    },
};
use serde_json::Value;

/// The committed files of LyCORIS.
pub fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/lycoris").join(name)
}

/// Their list.
pub fn manifest() -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&fs::read_to_string(reference("manifest.json"))?)?)
}

/// A file of LyCORIS, read as adapters of the base's parameters and encoded again.
pub fn rewrite(case: &Value) -> Result<Encoded> {
    let registry = registry();
    let base = Checkpoint::open(reference("base.safetensors"))?;
    let names = Names::new(base.names());
    let name = case["case"].as_str().context("a case has a name")?;
    let reader = AdapterReader::open(reference(&format!("{name}.safetensors")), &registry)?;
    // What LyCORIS leaves out of its file, and its loader takes from elsewhere.
    let start = case["base_file"].as_str().map(|rest| Checkpoint::open(reference(rest)));
    let start = start.transpose()?;

    let mut modules = BTreeMap::new();
    for module in reader.modules() {
        let mut tensors = reader.read(module)?;
        for checkpoint in start.iter() {
            for key in checkpoint.names() {
                if let Some(suffix) = key.strip_prefix(module).and_then(|s| s.strip_prefix('.')) {
                    tensors.insert(suffix.into(), checkpoint.read(key)?);
                }
            }
        }
        let parameters = Parameter::of(&base, names.expect(module)?)?;
        let device = Device::default();
        let (registry, dtype) = (&registry, DType::F32);
        let how = ModuleReader { file: &reader, registry, device: &device, dtype };
        let value = |parameter: &Parameter| parameter.read(&base, &device, dtype).map(Some);
        let holding = how.at_base(module, &tensors, parameters, value)?;
        let resolved = holding.found.into_iter().filter_map(|found| found.resolved);
        let written = resolved.flat_map(|resolved| resolved.adapter.write(&resolved.site));
        let same_type = |(key, data): (String, TensorData)| {
            let dtype = tensors.get(&key).map_or(DType::F32, |data| data.dtype());
            Ok((key, cast(data, dtype)?))
        };
        let written: Result<_> = written.map(same_type).collect();
        modules.insert(module.to_string(), written?);
    }
    let file = AdapterFile::new(reader.path(), reader.dialect(), modules);
    Ok(file.encode(&registry, Dialect::Lycoris, None, &Network::default())?)
}

/// The base after a tuning of full rank that also moves biases and norms: every tensor and a
/// multiple of itself with its entries in another order.
fn tuned(base: &Checkpoint, path: &Path) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for key in base.names() {
        let data = base.read(key)?;
        let values: Vec<f32> = data.iter().collect();
        let moved = |(i, x): (usize, f32)| x + 0.3 * values[(7 * i + 3) % values.len()];
        let moved: Vec<f32> = values.iter().copied().enumerate().map(moved).collect();
        tensors.insert(key.clone(), TensorData::new(moved, data.shape().clone()));
    }
    Ok(write_tensors(path, &tensors, &BTreeMap::new(), true)?)
}

/// An adapter by every algorithm that can be fitted, and what it makes of the base.
pub fn extract(folder: &Path) -> Result<()> {
    let registry = registry();
    let base = reference("base.safetensors");
    let after = folder.join("tuned.safetensors");
    tuned(&Checkpoint::open(&base)?, &after)?;
    for (name, choice) in Choice::all(&registry) {
        let extract = Extract {
            registry: &registry,
            choice,
            budget: Budget::Rank(4),
            alpha: None,
            norms: true,
            device: Device::default(),
            compute: DType::F32,
            dtype: DType::F32,
        };
        let path = folder.join(format!("{name}.safetensors"));
        extract.run(&base, &after, &path, true, |_, _| ())?;
        let sources = [Source { path, strength: 1.0.into() }];
        let merge = Merge::plan(&base, &sources, &registry, &Device::default(), DType::F32)?;
        merge.write(&folder.join(format!("{name}.merged.safetensors")), true, |_| ())?;
    }
    Ok(())
}

/// Writes them all.
#[allow(dead_code, reason = "the test that includes this file has no use for it")]
fn main() -> Result<()> {
    let out = std::env::args().nth(1).context("name a folder for the files")?;
    let [rewritten, extracted] = ["rewritten", "extracted"].map(|part| Path::new(&out).join(part));
    fs::create_dir_all(&rewritten)?;
    fs::create_dir_all(&extracted)?;
    for case in manifest()? {
        let name = case["case"].as_str().context("a case has a name")?;
        rewrite(&case)?.write(&rewritten.join(format!("{name}.safetensors")), true)?;
    }
    extract(&extracted)
}
