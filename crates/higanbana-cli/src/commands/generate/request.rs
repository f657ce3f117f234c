//! What is asked of a pipeline.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
};

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor};
use higanbana_diffusion::{Request, pipeline::ImageFile, weights::tensor};
use higanbana_io::Checkpoint;

use super::Arguments;
use crate::output;

/// A seed; none is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub Option<u64>);

/// Reads a seed, -1 for one that is drawn.
pub fn seed(text: &str) -> Result<Seed, String> {
    match text {
        "-1" => Ok(Seed(None)),
        _ => text.parse().map(|seed| Seed(Some(seed))).map_err(|error| format!("{error}")),
    }
}

/// A seed from the system's randomness, as large as those of the web UIs: the keys of std's hashes.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

/// What is asked of the pipeline, with a prompt that names no adapters any more.
///
/// # Errors
/// When an image or noise cannot be read, or the noise is for another number of images.
pub fn request(arguments: &Arguments, prompt: String, device: &Device) -> Result<Request> {
    let size = match (arguments.height, arguments.width) {
        (None, None) => None,
        (Some(height), Some(width)) => Some([height, width]),
        (Some(side), None) | (None, Some(side)) => Some([side, side]),
    };
    let image = arguments.image.as_ref().map(|image| first(image, device));
    let image = image.transpose()?.map(|image| (image, arguments.strength));
    let noise = arguments.noise.as_ref().map(|noise| read_noise(noise, device));
    let request = Request {
        prompt,
        negative: arguments.negative.clone(),
        scheduler: arguments.scheduler.clone(),
        sigmas: arguments.sigmas,
        steps: arguments.steps,
        guidance: arguments.guidance,
        guidance_rescale: arguments.guidance_rescale,
        clip_skip: arguments.clip_skip,
        negative_clip_skip: arguments.negative_clip_skip,
        backtrack: arguments.comma_backtrack.into(),
        size,
        seed: arguments.seed.0.unwrap_or_else(drawn),
        count: arguments.count.unwrap_or(1).into(),
        image,
        noise: noise.transpose()?.unwrap_or_default(),
        tile: arguments.tile,
    };
    match arguments.count {
        Some(count) if usize::from(count) != request.images() => {
            let images = output::count(request.images(), "image");
            Err(output::usage(format!("--count: is {count}; the noise is for {images}")))
        }
        _ => Ok(request),
    }
}

/// The image to begin with.
fn first(path: &Path, device: &Device) -> Result<Tensor<4>> {
    let ImageFile { pixels, alpha, turned } = ImageFile::read(path)?;
    let path = path.display();
    if turned {
        output::say(format!("note: {path}: is turned as EXIF says that the camera was held"));
    }
    if alpha.is_some_and(|alpha| alpha.iter().any(|alpha| *alpha < u8::MAX)) {
        output::say(format!("note: {path}: has transparent parts, which count as opaque"));
    }
    Ok(pixels.tensor(device))
}

/// The noise of the begin, and that of the steps where a file has it.
fn read_noise(path: &Path, device: &Device) -> Result<Vec<Tensor<4>>> {
    let file = Checkpoint::open(path)?;
    let mut noise = vec![tensor(&file, "latents", device, DType::F32)?];
    if file.info("steps").is_some() {
        let steps: Tensor<5> = tensor(&file, "steps", device, DType::F32)?;
        noise.extend(steps.iter_dim(0).map(|step| step.squeeze_dim::<4>(0)));
    }
    Ok(noise)
}
