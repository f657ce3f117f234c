//! Latents and texts that need not be computed again.
//!
//! An entry is called by the SHA-256 of everything that it follows from: the model, and the bytes of the
//! image with its size, or the text. A changed image, another autoencoder or another caption
//! has another name, so that nothing that is stale is ever found. Of latents the mean and the variance are
//! kept, not scaled, so that every step has a sample of its own, as without the cache.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Tensor, TensorData},
};
use higanbana_io::{Checkpoint, writer::write_tensors};
use sha2::{Digest, Sha256};

use crate::TrainError;

/// Tensors by name.
pub type Tensors = BTreeMap<String, TensorData>;

/// What is kept, in a folder or, without one, in memory.
#[derive(Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    held: HashMap<[u8; 32], Tensors>,
}

impl Cache {
    /// A cache in a folder, which is made where it is missing, or in memory alone.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: Option<&Path>) -> Result<Self, TrainError> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|error| TrainError::Data {
                path: folder.into(),
                reason: format!("the cache cannot be made ({error})"),
            })?;
        }
        Ok(Self { folder: folder.map(Path::to_path_buf), held: HashMap::new() })
    }

    /// The entry of a key, or what `make` gives, which is kept.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn get(
        &mut self,
        key: [u8; 32],
        make: impl FnOnce() -> Result<Tensors, TrainError>,
    ) -> Result<Tensors, TrainError> {
        let Some(folder) = &self.folder else {
            if let Some(tensors) = self.held.get(&key) {
                return Ok(tensors.clone());
            }
            let tensors = make()?;
            self.held.insert(key, tensors.clone());
            return Ok(tensors);
        };
        let path = folder.join(name(&key));
        // What cannot be read is made again.
        if let Some(tensors) = read(&path) {
            return Ok(tensors);
        }
        let tensors = make()?;
        write_tensors(&path, &tensors, &BTreeMap::new(), true)?;
        Ok(tensors)
    }
}

fn name(key: &[u8; 32]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    digits + ".safetensors"
}

fn read(path: &Path) -> Option<Tensors> {
    if !path.is_file() {
        return None;
    }
    let file = Checkpoint::open(path).ok()?;
    file.names().iter().map(|name| Some((name.clone(), file.read(name).ok()?))).collect()
}

/// The key of several parts.
pub fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// SHA-256 of a model: of its configuration and its weights.
pub fn model<M: Module>(model: &M, config: &impl fmt::Debug) -> [u8; 32] {
    struct Weights(Sha256);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.update(param.val().into_data().as_bytes());
        }
    }
    let mut weights = Weights(Sha256::new_with_prefix(format!("{config:?}")));
    model.visit(&mut weights);
    weights.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(value: f32) -> Tensors {
        Tensors::from([("mean".to_string(), TensorData::from([value]))])
    }

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cache");
        let (this, other) = (key(&[b"a", b"bc"]), key(&[b"ab", b"c"]));
        assert_ne!(this, other);
        let mut cache = Cache::new(Some(&place)).unwrap();
        assert_eq!(cache.get(this, || Ok(made(1.0))).unwrap(), made(1.0));
        assert_eq!(cache.get(this, || panic!("it is there")).unwrap(), made(1.0));
        assert_eq!(cache.get(other, || Ok(made(2.0))).unwrap(), made(2.0));

        let mut later = Cache::new(Some(&place)).unwrap();
        assert_eq!(later.get(this, || panic!("it is on the disk")).unwrap(), made(1.0));

        // What is damaged is made again.
        std::fs::write(place.join(name(&other)), b"x").unwrap();
        let mut later = Cache::new(Some(&place)).unwrap();
        assert_eq!(later.get(other, || Ok(made(3.0))).unwrap(), made(3.0));
    }
}
