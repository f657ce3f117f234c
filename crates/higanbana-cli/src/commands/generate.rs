//! `higanbana generate`: a prompt becomes an image.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use burn::tensor::{DType, Device, Tensor};
use clap::Args;
use higanbana_diffusion::{
    ModelError, Pipeline, Request,
    pipeline::{Memory, attach_file, from_image, png, to_pixels},
    schedulers,
    weights::tensor,
};
use higanbana_io::{Checkpoint, writer};

use super::merge::{Adapter, adapter};
use crate::{compute::Compute, memory::Room, output, refit::Storage};

/// Generate images from a prompt with Stable Diffusion, and adapters on it
///
/// Example: higanbana generate --model sd15 --prompt "a red lily" --adapter style.safetensors:0.8 -o lily.png
#[derive(Args)]
pub struct Arguments {
    /// A model directory, as diffusers saves it, or a single file of the web UIs
    #[arg(long, value_name = "DIR|FILE")]
    model: PathBuf,
    /// With a single file that is no published model's: a model directory with its configurations
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// What the image shows, as the web UI reads it: (word) is 1.1 times as strong, (word:1.3) 1.3 times,
    /// [word] weaker; [a:b:0.5] is a and after half of the steps b, [a|b] both in turns; BREAK begins a new
    /// chunk, AND joins whole prompts
    #[arg(long)]
    prompt: String,
    /// What the image does not show
    #[arg(long, value_name = "PROMPT")]
    negative: Option<String>,
    /// Adapter files, each with its strength: as trained is 1
    #[arg(long = "adapter", value_name = "FILE[:MU]", value_parser = adapter())]
    adapters: Vec<Adapter>,
    #[command(flatten)]
    completeness: output::Completeness,
    /// The scheduler; the model's own if left out
    #[arg(long, value_name = "NAME", value_parser = scheduler)]
    scheduler: Option<String>,
    /// Number of steps
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// How much more the image follows the prompt than the negative one; up to 1 that does not count
    #[arg(long, default_value_t = 7.5, value_name = "SCALE")]
    guidance: f64,
    /// Share by which guidance is kept from raising the contrast
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    guidance_rescale: f64,
    /// Layers of the text encoder to leave out, as diffusers counts: 1 is the web UIs' 2
    #[arg(long, default_value_t = 0, value_name = "LAYERS")]
    clip_skip: usize,
    /// The same for the negative prompt: diffusers leaves out none, the web UIs as many
    #[arg(long, default_value_t = 0, value_name = "LAYERS")]
    negative_clip_skip: usize,
    /// Width in pixels; that of the model's training if left out
    #[arg(long)]
    width: Option<usize>,
    /// Height in pixels; that of the model's training if left out
    #[arg(long)]
    height: Option<usize>,
    /// Seed of the first image; each further one has the next
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of images
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// Begin with this image, a PNG
    #[arg(long, value_name = "FILE", conflicts_with_all = ["width", "height"])]
    image: Option<PathBuf>,
    /// Share of the steps that make the image again
    #[arg(long, default_value_t = 0.8, value_name = "SHARE", requires = "image")]
    strength: f64,
    /// Begin with this noise of unit variance, the tensor latents of a file; for schedulers that draw
    /// noise it may hold that too, steps [step, image, 4, height, width]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["width", "height", "count"])]
    noise: Option<PathBuf>,
    /// Code the image in tiles of as many pixels a side, 512 if no number is given: large images then
    /// need less memory, and differ a little
    #[arg(long, value_name = "PIXELS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "512")]
    tile: Option<usize>,
    /// Write the final latents too, as the tensor latents
    #[arg(long, value_name = "FILE")]
    save_latents: Option<PathBuf>,
    /// The image, a PNG; with several, NAME-1.png and so on
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// What to compute in
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: Storage,
    /// Replace existing outputs
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    room: Room,
}

fn scheduler(name: &str) -> Result<String, String> {
    match schedulers::names().any(|known| known == name) {
        true => Ok(name.into()),
        false => Err(format!("there are {}", schedulers::names().collect::<Vec<_>>().join(", "))),
    }
}

/// Generates.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let device = arguments.compute.device()?;
    let request = request(arguments, &device)?;
    let count = request.images();
    let outputs: Vec<PathBuf> =
        (1..=count).map(|i| numbered(&arguments.output, i, count)).collect();
    let inputs = [&arguments.model].into_iter().chain(&arguments.config);
    let inputs = inputs.chain(&arguments.image).chain(&arguments.noise);
    let inputs = inputs.chain(arguments.adapters.iter().map(|adapter| &adapter.path));
    for path in outputs.iter().chain(&arguments.save_latents) {
        output::differs_from_inputs(path, inputs.clone().map(|input| &**input))?;
        writer::check(path, arguments.overwrite)?;
    }
    if arguments.save_latents.as_ref().is_some_and(|latents| outputs.contains(latents)) {
        return Err(output::usage("--save-latents: is the image's file too; name another"));
    }
    let least = || -> Result<f64, ModelError> {
        let memory = Memory::read(&arguments.model, arguments.config.as_deref())?;
        memory.generation(&request, arguments.dtype.into())
    };
    arguments.room.check(&device, least, "make fewer or smaller images, or take --tile")?;
    let pipeline = output::steps(|_| pipeline(arguments, &device))?;
    let [height, width] = pipeline.size(&request)?;

    let generated =
        output::steps(|step| Ok(pipeline.generate(&request, &mut |_, of| step("", of))?))?;

    let images = to_pixels(generated.images);
    for (index, (path, pixels)) in outputs.iter().zip(images).enumerate() {
        let settings = settings(arguments, &pipeline, [height, width], index as u64);
        let bytes = png([height, width], &pixels, &settings)?;
        writer::write_bytes(path, &bytes, arguments.overwrite)?;
    }
    if let Some(path) = &arguments.save_latents {
        let latents = generated.latents.cast(DType::F32).into_data();
        let tensors = BTreeMap::from([("latents".to_string(), latents)]);
        writer::write_tensors(path, &tensors, &BTreeMap::new(), arguments.overwrite)?;
    }
    output::line(format!(
        "{}: {count} of {width}x{height}, {} steps, in {:.1} s",
        arguments.output.display(),
        request.steps,
        begin.elapsed().as_secs_f64()
    ))
}

fn request(arguments: &Arguments, device: &Device) -> Result<Request> {
    let size = match (arguments.height, arguments.width) {
        (None, None) => None,
        (Some(height), Some(width)) => Some([height, width]),
        (Some(side), None) | (None, Some(side)) => Some([side, side]),
    };
    let image = arguments.image.as_ref();
    let image =
        image.map(|image| Ok::<_, anyhow::Error>((from_image(image, device)?, arguments.strength)));
    let noise = arguments.noise.as_ref().map(|noise| read_noise(noise, device));
    Ok(Request {
        prompt: arguments.prompt.clone(),
        negative: arguments.negative.clone(),
        scheduler: arguments.scheduler.clone(),
        steps: arguments.steps,
        guidance: arguments.guidance,
        guidance_rescale: arguments.guidance_rescale,
        clip_skip: arguments.clip_skip,
        negative_clip_skip: arguments.negative_clip_skip,
        size,
        seed: arguments.seed,
        count: arguments.count.into(),
        image: image.transpose()?,
        noise: noise.transpose()?.unwrap_or_default(),
        tile: arguments.tile,
    })
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

/// The model with its adapters.
fn pipeline(arguments: &Arguments, device: &Device) -> Result<Pipeline> {
    let dtype = DType::from(arguments.dtype);
    if !device.supports_dtype(dtype) {
        bail!("--dtype: this device cannot compute in {dtype:?}, take f32");
    }
    let mut pipeline = match arguments.model.is_file() {
        true => {
            let config = arguments.config.as_deref();
            Pipeline::read_file(&arguments.model, config, device, dtype)?
        }
        false if arguments.config.is_some() => {
            return Err(output::usage("--config: a model directory has its own configurations"));
        }
        false => Pipeline::read(&arguments.model, device, dtype)?,
    };
    let registry = crate::registry();
    for adapter in &arguments.adapters {
        let strength = adapter.strength.unwrap_or(1.0);
        let placed = attach_file(&mut pipeline, &adapter.path, strength, &registry)?.placed;
        arguments.completeness.check(&adapter.path, &placed.notes, &placed.leftovers)?;
        output::say(format!(
            "{} at {strength}: {} modules, {} weights and biases",
            adapter.path.display(),
            placed.modules,
            placed.parameters
        ));
    }
    Ok(pipeline)
}

/// `NAME-1.png` for the first of several.
fn numbered(path: &Path, number: usize, count: usize) -> PathBuf {
    if count == 1 {
        return path.into();
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The settings of an image, in the form that the web UIs read.
fn settings(
    arguments: &Arguments,
    pipeline: &Pipeline,
    [height, width]: [usize; 2],
    index: u64,
) -> String {
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = arguments.prompt.clone();
    for adapter in &arguments.adapters {
        let strength = adapter.strength.unwrap_or(1.0);
        text += &format!(" <lora:{}:{strength}>", name(&adapter.path));
    }
    if let Some(negative) = &arguments.negative {
        text += &format!("\nNegative prompt: {negative}");
    }
    let own = || schedulers::own(&pipeline.scheduler);
    let sampler = match arguments.scheduler.as_deref().or_else(own) {
        None => "unknown",
        Some("ddpm") => "DDPM",
        Some("ddim") => "DDIM",
        Some("pndm") => "PLMS",
        Some("euler") => "Euler",
        Some("euler_a") => "Euler a",
        Some("dpmpp_2m") => "DPM++ 2M",
        Some("dpmpp_2m_karras") => "DPM++ 2M Karras",
        Some("unipc") => "UniPC",
        Some("lcm") => "LCM",
        Some(other) => other,
    };
    text += &format!(
        "\nSteps: {}, Sampler: {sampler}, CFG scale: {}, Seed: {}, Size: {width}x{height}, Model: {}",
        arguments.steps,
        arguments.guidance,
        arguments.seed.wrapping_add(index),
        name(&arguments.model),
    );
    if arguments.clip_skip > 0 {
        text += &format!(", Clip skip: {}", arguments.clip_skip + 1);
    }
    if arguments.image.is_some() {
        text += &format!(", Denoising strength: {}", arguments.strength);
    }
    text + concat!(", Version: higanbana ", env!("CARGO_PKG_VERSION"))
}
