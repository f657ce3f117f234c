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
fn tiles_are_cut_and_blended_as_in_diffusers() {
    let device = Device::default();
    let vae = AutoencoderKL::read(vae_folder().path(), &device, DType::F32).unwrap();
    let expected = Expected::open("vae/tiled.safetensors");
    let tiles = vae.tiles(32).unwrap();
    let deviation = |[h, w]: [usize; 2]| {
        let image = formula::scaled(&format!("image {h}x{w}"), [1, 3, h, w], 1.0, &device);
        expected.check(&format!("mean {h}x{w}"), vae.encode_tiled(image, tiles).mean, 1e-4)
    };
    println!("encode: {:.1e} {:.1e}", deviation([76, 44]), deviation([32, 52]));
    let deviation = |[h, w]: [usize; 2]| {
        let latents = formula::tensor(&format!("latents {h}x{w}"), [1, 4, h, w], &device);
        let image = vae.decode_tiled(latents.clone(), tiles);
        assert!(image.clone().sub(vae.decode(latents)).abs().max().into_scalar::<f32>() > 1e-2);
        expected.check(&format!("image {h}x{w}"), image, 1e-4)
    };
    println!("decode: {:.1e} {:.1e}", deviation([13, 9]), deviation([8, 14]));

    // What fits into one tile is not cut.
    let latents = formula::tensor("latents 8x6", [2, 4, 8, 6], &device);
    let whole = vae.decode(latents.clone()).into_data();
    assert_eq!(vae.decode_tiled(latents, tiles).into_data(), whole);
    let error = vae.tiles(24).unwrap_err().to_string();
    assert_eq!(error, "tile: is 24; give a multiple of 16 pixels");
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
