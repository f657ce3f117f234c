mod counted;
mod form;
mod hostile;
mod peft;
mod reading;
mod round;
mod writing;

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use higanbana_adapters::registry;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{FileError, writer};

/// A tensor of the shape, its elements 1, 2, 3, ... times `step`.
fn ramp<const D: usize>(shape: [usize; D], step: f32) -> TensorData {
    let count = shape.iter().product::<usize>();
    TensorData::new((1..=count).map(|i| i as f32 * step).collect::<Vec<_>>(), shape)
}

fn number(x: f32) -> TensorData {
    TensorData::new(vec![x], [0usize; 0])
}

/// A file of these tensors and metadata, in a folder of its own.
struct Fixture {
    folder: TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new<const N: usize>(tensors: [(&str, TensorData); N]) -> Self {
        Self::with_metadata(tensors, &[])
    }

    fn with_metadata<const N: usize>(
        tensors: [(&str, TensorData); N],
        metadata: &[(&str, &str)],
    ) -> Self {
        let folder = tempdir().unwrap();
        let path = folder.path().join("adapter.safetensors");
        let tensors = tensors.into_iter().map(|(key, data)| (key.into(), data)).collect();
        let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        writer::write_tensors(&path, &tensors, &metadata, false).unwrap();
        Self { folder, path }
    }

    fn config(self, json: &str) -> Self {
        fs::write(self.folder.path().join("adapter_config.json"), json).unwrap();
        self
    }

    fn open(&self) -> Result<AdapterReader, FileError> {
        AdapterReader::open(&self.path, &registry())
    }

    fn read(&self) -> AdapterFile {
        self.open().unwrap().read_all().unwrap()
    }
}

/// Writes in a dialect, with PEFT's configuration beside, and reads back.
fn rewrite(encoded: &Encoded, folder: &Path) -> AdapterFile {
    let path = folder.join("adapter_model.safetensors");
    encoded.write(&path, true).unwrap();
    AdapterReader::open(path, &registry()).unwrap().read_all().unwrap()
}
