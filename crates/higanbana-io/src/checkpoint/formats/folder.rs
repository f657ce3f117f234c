//! Directories of diffusers' and PEFT's: the weights of one model, or the models of a pipeline.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Container, Contents};
use crate::{Checkpoint, FileError};

/// Under which names weights are saved, without what follows; an adapter's before a model's.
const STEMS: [&str; 5] =
    ["adapter_model", "pytorch_lora_weights", "diffusion_pytorch_model", "model", "pytorch_model"];
/// Full precision before half.
const VARIANTS: [&str; 3] = ["", ".fp16", ".bf16"];
/// What needs no pickle before what does.
const ENDINGS: [&str; 2] = ["safetensors", "bin"];
/// The folders of a pipeline in which adapters have a place.
const MODELS: [&str; 4] = ["unet", "transformer", "text_encoder", "text_encoder_2"];

/// The files of the weights in a folder: one, or the shards that an index names. None if there are none.
///
/// # Errors
/// When the folder or the index cannot be read.
pub fn weight_files(folder: &Path) -> Result<Option<Vec<PathBuf>>, FileError> {
    let read = |source| FileError::Read { path: folder.into(), source };
    let entries = fs::read_dir(folder).map_err(read)?;
    let present: BTreeSet<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    for (variant, ending, stem) in combinations() {
        let file = format!("{stem}{variant}.{ending}");
        let index = format!("{stem}.{ending}.index{variant}.json");
        if present.contains(&file) {
            return Ok(Some(vec![folder.join(file)]));
        }
        if present.contains(&index) {
            return shards(folder, &folder.join(index)).map(Some);
        }
    }
    Ok(None)
}

fn combinations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let endings = ENDINGS.into_iter().flat_map(|ending| VARIANTS.map(|variant| (variant, ending)));
    endings.flat_map(|(variant, ending)| STEMS.map(|stem| (variant, ending, stem)))
}

/// The files that an index names; what they hold they say themselves.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, FileError> {
    let wrong = |reason: &str| FileError::Config { path: index.into(), reason: reason.into() };
    let text = fs::read_to_string(index)
        .map_err(|source| FileError::Read { path: index.into(), source })?;
    let json: Value = serde_json::from_str(&text).map_err(|e| wrong(&e.to_string()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("has no weight_map"))?;
    let names: Option<BTreeSet<&str>> = map.values().map(Value::as_str).collect();
    let names = names.ok_or_else(|| wrong("has a weight_map that names no files"))?;
    // A name that leads out of the folder is no shard.
    if names.iter().any(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        return Err(wrong("names a file outside its folder"));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Opens what a folder holds: the weights of one model as they are, those of several below the names of
/// their folders.
pub(super) fn open(folder: &Path) -> Result<Contents, FileError> {
    if let Some(files) = weight_files(folder)? {
        return match &files[..] {
            [only] => super::open(only),
            _ => Several::open(folder, files.into_iter().map(|file| (String::new(), file))),
        };
    }
    let mut models = Vec::new();
    for model in MODELS {
        let inside = folder.join(model);
        let files = if inside.is_dir() { weight_files(&inside)? } else { None };
        models.extend(files.into_iter().flatten().map(|file| (format!("{model}."), file)));
    }
    if models.is_empty() {
        return Err(FileError::NoWeights { path: folder.into() });
    }
    Several::open(folder, models.into_iter())
}

/// Several files as one.
#[derive(Debug)]
struct Several {
    files: Vec<Checkpoint>,
    /// File and own key of every tensor.
    places: HashMap<String, (usize, String)>,
}

impl Several {
    fn open(
        folder: &Path,
        files: impl Iterator<Item = (String, PathBuf)>,
    ) -> Result<Contents, FileError> {
        let mut all = Self { files: Vec::new(), places: HashMap::new() };
        let (mut tensors, mut notes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (prefix, path) in files {
            let file = Checkpoint::open(&path)?;
            for key in file.names() {
                let name = format!("{prefix}{key}");
                let place = (all.files.len(), key.clone());
                if let Some((first, _)) = all.places.insert(name.clone(), place) {
                    return Err(FileError::DuplicateKey {
                        path: folder.into(),
                        key: name,
                        first: all.files[first].path().display().to_string(),
                        second: path.display().to_string(),
                    });
                }
                tensors.extend(file.info(key).map(|info| (name, info.clone())));
            }
            notes.extend_from_slice(file.notes());
            bytes += file.total_bytes();
            all.files.push(file);
        }
        let path = folder.into();
        let metadata = BTreeMap::new();
        Ok(Contents { path, tensors, metadata, notes, container: Box::new(all), bytes })
    }
}

impl Container for Several {
    fn read(&self, key: &str) -> Result<Vec<u8>, FileError> {
        let (file, own) = self.places.get(key).expect("the key has been found to be there");
        self.files[*file].read_bytes(own)
    }
}
