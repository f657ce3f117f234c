mod combine;
mod convert;
mod extract;
mod judged;
mod layout;
mod resize;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_adapters::registry;
use higanbana_core::{Budget, spectrum};

use super::*;
use crate::{
    Checkpoint, Dialect,
    apply::{Merge, Source},
    testing::{Files, distance, reference, values},
    writer::write_tensors,
};

impl Files {
    /// The base with one adapter merged in f64.
    fn merged(&self, base: &Path, adapter: &Path) -> Checkpoint {
        let sources = [Source { path: adapter.into(), strength: 1.0.into() }];
        let registry = registry();
        let merge = Merge::plan(base, &sources, &registry, &Device::flex(), DType::F64).unwrap();
        assert_eq!(merge.planned()[0].placed.leftovers, [], "{}", adapter.display());
        merge.write(&self.path("merged"), true, |_| ()).unwrap();
        Checkpoint::open(self.path("merged")).unwrap()
    }
}

/// A tensor of the values that numpy computed.
fn golden(key: &str) -> TensorData {
    Checkpoint::open(reference("algebra.safetensors")).unwrap().read(key).unwrap()
}

fn number(key: &str) -> f64 {
    golden(key).iter().next().unwrap()
}

/// Numbers without structure, in -1..1, the same in every run.
fn noise(shape: &[usize], seed: u64) -> TensorData {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| next()).collect();
    TensorData::new(values, shape.to_vec())
}

fn plus(a: &TensorData, b: &TensorData) -> TensorData {
    let sum: Vec<f64> = a.iter::<f64>().zip(b.iter::<f64>()).map(|(x, y)| x + y).collect();
    TensorData::new(sum, a.shape().clone())
}

fn matrix(data: &TensorData) -> Tensor<2> {
    let out = data.shape()[0];
    let shape = [out, data.num_elements() / out];
    let values: Vec<f64> = data.iter().collect();
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// The least error that an approximation of this rank can have.
fn tail(matrix: &Tensor<2>, rank: usize) -> f64 {
    spectrum::truncation_error(&spectrum::singular_values(matrix).unwrap(), rank)
}

/// Two checkpoints that differ by `update` in one weight, and the extraction from them.
fn extract_one(
    algorithm: &str,
    budget: Budget,
    update: &TensorData,
    compute: DType,
) -> (Files, Extracted) {
    let files = Files::new();
    let w0 = noise(update.shape(), 5);
    let base = files.write("base", &[("layer.weight", w0.clone())]);
    let tuned = files.write("tuned", &[("layer.weight", plus(&w0, update))]);
    let extracted = extract(algorithm, budget, compute, &base, &tuned, &files.path("out")).unwrap();
    (files, extracted)
}

fn extract(
    algorithm: &str,
    budget: Budget,
    compute: DType,
    base: &Path,
    tuned: &Path,
    out: &Path,
) -> Result<Extracted, RefitError> {
    let registry = registry();
    let extract = Extract {
        registry: &registry,
        choice: Choice::named(&registry, algorithm)?,
        budget,
        alpha: None,
        norms: false,
        device: Device::flex(),
        compute,
        dtype: compute,
    };
    extract.run(base, tuned, out, false, |_, _| ())
}
