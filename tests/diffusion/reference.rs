//! The committed results of the reference script.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor};
use higanbana_diffusion::{
    AutoencoderKL, CLIPTextModel, ClipConfig, UNet2DConditionModel, UNetConfig, VaeConfig,
};
use higanbana_io::Checkpoint;
use tempfile::TempDir;

use super::formula::{self, write_weights};

/// The folder of a case.
pub fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/diffusion").join(case)
}

/// What diffusers computed in a case.
pub struct Expected(Checkpoint);

impl Expected {
    pub fn of(case: &str) -> Self {
        Self::open(&format!("{case}/expected.safetensors"))
    }

    pub fn open(file: &str) -> Self {
        Self(Checkpoint::open(folder(file)).unwrap())
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
    // A NaN is no small difference, wherever it stands: in the total order it is the largest.
    difference.max_by(f64::total_cmp).unwrap_or_default() / largest
}

/// A model folder with the weights of the formula.
pub fn unet_folder(case: &str) -> TempDir {
    unet_folder_of(&folder(case).join("config.json"))
}

/// The same for any configuration.
pub fn unet_folder_of(config: &Path) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    std::fs::copy(config, temp.path().join("config.json")).unwrap();
    let model = UNet2DConditionModel::new(&UNetConfig::read(config).unwrap(), &Device::default());
    formula::write_weights(&model, &temp.path().join("diffusion_pytorch_model.safetensors"));
    temp
}

/// A tiny UNet, read from a folder.
pub fn unet(case: &str, device: &Device) -> UNet2DConditionModel {
    UNet2DConditionModel::read(unet_folder(case).path(), device, DType::F32).unwrap()
}

/// Puts the UNet of another case into a model folder.
pub fn write_unet(case: &str, to: &Path) {
    let config = to.join("unet/config.json");
    fs::copy(folder(case).join("unet/config.json"), &config).unwrap();
    let model = UNet2DConditionModel::new(&UNetConfig::read(&config).unwrap(), &Device::default());
    write_weights(&model, &config.with_file_name("diffusion_pytorch_model.safetensors"));
}

/// Writes a whole model folder with the weights of the formula.
pub fn write_pipeline(case: &str, to: &Path) {
    let from = folder(case);
    let device = Device::default();
    let copy = |name: &str| {
        let target = to.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(name), &target).unwrap();
        target
    };
    copy("model_index.json");
    copy("scheduler/scheduler_config.json");
    let weights = "diffusion_pytorch_model.safetensors";
    let config = copy("unet/config.json");
    let unet = UNet2DConditionModel::new(&UNetConfig::read(&config).unwrap(), &device);
    write_weights(&unet, &config.with_file_name(weights));
    let config = copy("vae/config.json");
    let vae = AutoencoderKL::new(&VaeConfig::read(&config).unwrap(), &device);
    write_weights(&vae, &config.with_file_name(weights));
    for (number, pad) in [("", "<|endoftext|>"), ("_2", "!")] {
        if !from.join(format!("text_encoder{number}")).exists() {
            continue;
        }
        let config = copy(&format!("text_encoder{number}/config.json"));
        let clip = ClipConfig::read(&config).unwrap();
        let projection = (number == "_2").then_some(32);
        let model = CLIPTextModel::new(&ClipConfig { projection, ..clip }, &device);
        write_weights(&model, &config.with_file_name("model.safetensors"));
        let tokenizer = to.join(format!("tokenizer{number}"));
        fs::create_dir_all(&tokenizer).unwrap();
        for name in ["vocab.json", "merges.txt"] {
            fs::copy(folder("tokenizer").join(name), tokenizer.join(name)).unwrap();
        }
        let config = format!(r#"{{"pad_token": {{"content": "{pad}"}}}}"#);
        fs::write(tokenizer.join("tokenizer_config.json"), config).unwrap();
    }
}

pub fn pipeline_folder(case: &str) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    write_pipeline(case, temp.path());
    temp
}
