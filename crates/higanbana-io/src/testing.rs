//! What the tests of this crate share: a folder of small files, the committed files, distances.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use tempfile::{TempDir, tempdir};

use crate::{Checkpoint, writer::write_tensors};

/// A folder of small files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a safetensors file, which says `of` what name it is.
    pub(crate) fn write(&self, name: &str, tensors: &[(&str, TensorData)]) -> PathBuf {
        let tensors = tensors.iter().map(|(key, data)| (key.to_string(), data.clone())).collect();
        let metadata = BTreeMap::from([("of".to_string(), name.to_string())]);
        write_tensors(&self.path(name), &tensors, &metadata, true).unwrap();
        self.path(name)
    }

    /// What is in the folder.
    pub(crate) fn list(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A committed file.
pub(crate) fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(name)
}

pub(crate) fn values(file: &Checkpoint, key: &str) -> Vec<f64> {
    file.read(key).unwrap().iter().collect()
}

/// ‖a − b‖ in the Frobenius norm.
pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

/// ‖a − b‖ / ‖b‖.
pub(crate) fn relative(a: &[f64], b: &[f64]) -> f64 {
    distance(a, b) / distance(b, &vec![0.0; b.len()])
}
