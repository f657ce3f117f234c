//! The committed results of the reference script.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use higanbana_diffusion::{UNet2DConditionModel, UNetConfig};
use higanbana_io::Checkpoint;
use tempfile::TempDir;

use super::formula;

/// The folder of a case.
pub fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/diffusion").join(case)
}

/// What diffusers computed in a case.
pub struct Expected(Checkpoint);

impl Expected {
    pub fn of(case: &str) -> Self {
        Self(Checkpoint::open(folder(case).join("expected.safetensors")).unwrap())
    }

    pub fn values(&self, key: &str) -> Vec<f32> {
        self.0.read(key).unwrap().iter().collect()
    }

    pub fn shape(&self, key: &str) -> &[usize] {
        &self.0.info(key).unwrap().shape
    }

    /// That a tensor is the one expected, up to `tolerance` times the largest magnitude; says how
    /// far it is.
    #[track_caller]
    pub fn check<const D: usize>(&self, key: &str, found: Tensor<D>, tolerance: f64) -> f64 {
        assert_eq!(found.dims().as_slice(), self.shape(key), "{key}");
        let deviation = deviation(&self.values(key), &found.into_data().iter().collect::<Vec<_>>());
        assert!(deviation <= tolerance, "{key}: {deviation:.2e} of the largest value");
        deviation
    }
}

/// max |a - b| / max |a|
pub fn deviation(expected: &[f32], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let largest = expected.iter().fold(0f64, |max, x| max.max(f64::from(x.abs())));
    let pairs = expected.iter().zip(found);
    let difference = pairs.map(|(a, b)| f64::from((a - b).abs()));
    // A NaN is no small difference.
    difference.fold(0f64, |max, d| if d <= max { max } else { d }) / largest
}

/// A model folder with the weights of the formula.
pub fn unet_folder(case: &str) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let config = folder(case).join("config.json");
    std::fs::copy(&config, temp.path().join("config.json")).unwrap();
    let model = UNet2DConditionModel::new(&UNetConfig::read(&config).unwrap(), &Device::default());
    formula::write_weights(&model, &temp.path().join("diffusion_pytorch_model.safetensors"));
    temp
}

/// A tiny UNet, read from a folder.
pub fn unet(case: &str, device: &Device) -> UNet2DConditionModel {
    UNet2DConditionModel::read(unet_folder(case).path(), device, DType::F32).unwrap()
}
