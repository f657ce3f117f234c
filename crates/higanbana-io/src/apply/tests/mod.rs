mod hostile;
mod inspect;
mod lycoris;
mod merge;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, TensorData};
use higanbana_adapters::registry;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{Checkpoint, writer::write_tensors};

/// A folder of small files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, tensors: &[(&str, TensorData)]) -> PathBuf {
        let tensors = tensors.iter().map(|(key, data)| (key.to_string(), data.clone())).collect();
        let metadata = BTreeMap::from([("of".to_string(), name.to_string())]);
        write_tensors(&self.path(name), &tensors, &metadata, true).unwrap();
        self.path(name)
    }

    /// Merges in f32 and gives what was planned and the result.
    fn merge(
        &self,
        base: &Path,
        sources: &[(&Path, f64)],
        dtype: DType,
    ) -> Result<(Vec<Leftover>, Checkpoint), ApplyError> {
        let sources =
            sources.iter().map(|(path, mu)| Source { path: (*path).into(), strength: *mu });
        let sources: Vec<Source> = sources.collect();
        let registry = registry();
        let merge = Merge::plan(base, &sources, &registry, &Device::flex(), dtype)?;
        let out = self.path("merged");
        merge.write(&out, true, |_| ())?;
        let left = merge.planned().iter().flat_map(|planned| planned.leftovers.clone()).collect();
        Ok((left, Checkpoint::open(out)?))
    }
}

fn values(file: &Checkpoint, key: &str) -> Vec<f64> {
    file.read(key).unwrap().iter().collect()
}

/// ‖a − b‖ / ‖b‖ in the Frobenius norm.
fn relative(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum();
    (difference / b.iter().map(|y| y * y).sum::<f64>()).sqrt()
}
