//! The autoencoder against diffusers.

use burn::tensor::{DType, Device};
use higanbana_diffusion::{AutoencoderKL, VaeConfig, weights::parameter_count};
use tempfile::TempDir;

use super::{
    formula,
    reference::{Expected, folder},
};

/// A folder with the tiny autoencoder.
pub fn vae_folder() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let config = folder("vae").join("config.json");
    std::fs::copy(&config, temp.path().join("config.json")).unwrap();
    let model = AutoencoderKL::new(&VaeConfig::read(&config).unwrap(), &Device::default());
    formula::write_weights(&model, &temp.path().join("diffusion_pytorch_model.safetensors"));
    temp
}

#[test]
fn both_ways_are_those_of_diffusers() {
    let device = Device::default();
    let vae = AutoencoderKL::read(vae_folder().path(), &device, DType::F32).unwrap();
    let expected = Expected::of("vae");
    for [h, w] in [[32, 24], [27, 18]] {
        let image = formula::scaled(&format!("image {h}x{w}"), [2, 3, h, w], 1.0, &device);
        let posterior = vae.encode(image);
        let mean = expected.check(&format!("mean {h}x{w}"), posterior.mean, 1e-4);
        let logvar = expected.check(&format!("logvar {h}x{w}"), posterior.logvar, 1e-4);
        println!("encode {h}x{w}: {mean:.1e} {logvar:.1e}");
    }
    for [h, w] in [[8, 6], [5, 7]] {
        let latents = formula::tensor(&format!("latents {h}x{w}"), [2, 4, h, w], &device);
        let off = expected.check(&format!("image {h}x{w}"), vae.decode(latents), 1e-4);
        println!("decode {h}x{w}: {off:.1e}");
    }
}

#[test]
fn the_published_model_has_as_many_parameters() {
    let config = VaeConfig {
        image_channels: 3,
        latent_channels: 4,
        channels: vec![128, 256, 512, 512],
        layers: 2,
        norm_groups: 32,
        scaling: 0.18215,
        force_upcast: true,
    };
    assert_eq!(config.factor(), 8);
    let vae = AutoencoderKL::new(&config, &Device::default());
    assert_eq!(parameter_count(&vae), 83_653_863);
}
