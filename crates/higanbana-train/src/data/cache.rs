//! Latents and texts that need not be computed again.
//!
//! An entry is called by the SHA-256 of everything that it follows from: the model, and the bytes of the
//! image with its size, or the text. A changed image, another autoencoder or another caption
//! has another name, so that nothing that is stale is ever found. A file under such a name that is no entry,
//! or not as it was written, is neither read nor replaced: what belongs there is computed and kept in memory.
//! Of latents the mean and the variance are
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
use higanbana_io::{Checkpoint, FileError, writer::write_tensors};
use sha2::{Digest, Sha256};

use crate::{TrainError, seal};

/// Tensors by name.
pub type Tensors = BTreeMap<String, TensorData>;

/// What is kept, in a folder or, without one, in memory.
#[derive(Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
    held: HashMap<[u8; 32], Tensors>,
    strange: Vec<PathBuf>,
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
        Ok(Self {
            folder: folder.map(Path::to_path_buf),
            held: HashMap::new(),
            strange: Vec::new(),
        })
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
        if let Some(tensors) = self.held.get(&key) {
            return Ok(tensors.clone());
        }
        let path = self.folder.as_ref().map(|folder| folder.join(name(&key)));
        let is_there = path.as_ref().is_some_and(|path| path.symlink_metadata().is_ok());
        if let Some(tensors) = path.as_ref().filter(|_| is_there).and_then(|path| read(path)) {
            return Ok(tensors);
        }
        let tensors = make()?;
        match path {
            Some(path) if !is_there => write(&path, &tensors)?,
            path => {
                self.strange.extend(path);
                self.held.insert(key, tensors.clone());
            }
        }
        Ok(tensors)
    }

    /// Files of the folder that are called as entries are and are none, or not as they were written.
    pub fn strange(&self) -> &[PathBuf] {
        &self.strange
    }
}

fn write(path: &Path, tensors: &Tensors) -> Result<(), TrainError> {
    let about = BTreeMap::from([(seal::HASH.into(), seal::hash(&BTreeMap::new(), tensors))]);
    match write_tensors(path, tensors, &about, false) {
        // Another training made the same meanwhile.
        Err(FileError::Exists { .. }) => Ok(()),
        written => Ok(written?),
    }
}

fn name(key: &[u8; 32]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    digits + ".safetensors"
}

fn read(path: &Path) -> Option<Tensors> {
    let file = Checkpoint::open(path).ok()?;
    let read = |name: &String| Some((name.clone(), file.read(name).ok()?));
    let tensors = file.names().iter().map(read).collect::<Option<Tensors>>()?;
    (!seal::is_broken(file.metadata(), &tensors)).then_some(tensors)
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

        // An entry of an earlier version, which has no hash.
        write_tensors(&place.join(name(&other)), &made(2.5), &BTreeMap::new(), true).unwrap();
        assert_eq!(later.get(other, || panic!("it is on the disk")).unwrap(), made(2.5));
        assert!(later.strange().is_empty());
    }

    #[test]
    fn what_is_no_entry_is_neither_read_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let key = key(&[b"a"]);
        let path = folder.path().join(name(&key));
        Cache::new(Some(folder.path())).unwrap().get(key, || Ok(made(1.0))).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        for bytes in [&whole[..whole.len() - 1], b"mine", b"", &changed] {
            std::fs::write(&path, bytes).unwrap();
            let mut cache = Cache::new(Some(folder.path())).unwrap();
            assert_eq!(cache.get(key, || Ok(made(3.0))).unwrap(), made(3.0));
            assert_eq!(cache.get(key, || panic!("it is held")).unwrap(), made(3.0));
            assert_eq!(cache.strange(), std::slice::from_ref(&path));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }
}
