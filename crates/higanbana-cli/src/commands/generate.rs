//! `higanbana generate`: a prompt becomes an image.

mod named;
mod picture;
mod request;
mod settings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use burn::tensor::{DType, Device};
use clap::Args;
use higanbana_diffusion::{
    ModelError, Pipeline,
    pipeline::{Memory, attach_file, to_pixels},
    schedulers::{self, Sigmas},
    text::BACKTRACK,
};
use higanbana_io::{Strength, writer};

use self::{
    picture::Format,
    request::{Seed, request, seed},
};
use crate::{
    adapter::{self, Adapter},
    compute::Compute,
    embedding,
    memory::Room,
    output,
    refit::Storage,
};

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
    /// chunk, AND joins whole prompts; <lora:NAME:MU> is an adapter of --adapter-dir, of any algorithm
    #[arg(long)]
    prompt: String,
    /// What the image does not show
    #[arg(long, value_name = "PROMPT")]
    negative: Option<String>,
    #[arg(long = "adapter", value_name = "FILE[:MU]", value_parser = adapter::parser())]
    #[arg(help = adapter::help("Adapter files, each with its strength"))]
    adapters: Vec<Adapter>,
    /// Embedding files (textual inversion): the prompts may hold TOKEN then, or else the name that the file
    /// gives it; tokens that come with an adapter need no mention
    #[arg(long = "embedding", value_name = "FILE[=TOKEN]", value_parser = embedding::parse)]
    embeddings: Vec<embedding::File>,
    /// The folder, and those below, of the adapters that the prompt names
    #[arg(long, value_name = "DIR")]
    adapter_dir: Option<PathBuf>,
    #[command(flatten)]
    completeness: output::Completeness,
    /// The scheduler; the model's own if left out
    #[arg(long, value_name = "NAME", value_parser = scheduler)]
    scheduler: Option<String>,
    /// How its levels of noise are spread: karras, exponential or beta; as the model has it if left out
    #[arg(long, value_name = "NAME")]
    sigmas: Option<Sigmas>,
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
    /// A prompt of more than 75 tokens is split behind a comma, if one is among the last as many of a
    /// chunk: 20 in the web UI; 0 splits it where the chunk is full
    #[arg(long, default_value_t = BACKTRACK as u8, value_name = "TOKENS")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=74))]
    comma_backtrack: u8,
    /// Width in pixels; that of the image or the noise, or of the model's training, if left out
    #[arg(long)]
    width: Option<usize>,
    /// Height in pixels, likewise
    #[arg(long)]
    height: Option<usize>,
    /// Seed of the first image; each further one has the next. -1 draws one, which is said
    #[arg(long, default_value = "0", allow_negative_numbers = true, value_parser = seed)]
    seed: Seed,
    /// Number of images, 1 if neither noise nor this says it
    #[arg(long)]
    count: Option<u16>,
    /// Begin with this image: a PNG, JPEG, WebP, BMP, GIF or TIFF
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Share of the steps that make the image again
    #[arg(long, default_value_t = 0.8, value_name = "SHARE", requires = "image")]
    strength: f64,
    /// Begin with this noise of unit variance, the tensor latents of a file; for schedulers that draw
    /// noise it may hold that too, steps [step, image, 4, height, width]
    #[arg(long, value_name = "FILE")]
    noise: Option<PathBuf>,
    /// Code the image in tiles of as many pixels a side, 512 if no number is given: large images then
    /// need less memory, and differ a little
    #[arg(long, value_name = "PIXELS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "512")]
    tile: Option<usize>,
    /// Write the final latents too, as the tensor latents
    #[arg(long, value_name = "FILE", value_parser = output::tensors())]
    save_latents: Option<PathBuf>,
    /// The image: a PNG or, if it is called so, a WebP without loss or a JPEG of quality 95 (4:4:4); with
    /// several, NAME-1.png and so on
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
    let (prompt, adapters) = named::adapters(&arguments.prompt, arguments.adapter_dir.as_deref())?;
    let given = arguments.adapters.iter().map(|it| (it.path.clone(), it.strength(1.0)));
    let adapters: Vec<(PathBuf, Strength)> = given.chain(adapters).collect();
    let request = request(arguments, prompt, &device)?;
    let count = request.images();
    let outputs: Vec<PathBuf> =
        (1..=count).map(|i| numbered(&arguments.output, i, count)).collect();
    let inputs = [&arguments.model].into_iter().chain(&arguments.config);
    let inputs = inputs.chain(&arguments.image).chain(&arguments.noise);
    let inputs = inputs.chain(adapters.iter().map(|(path, _)| path));
    let inputs = inputs.chain(arguments.embeddings.iter().map(|embedding| &embedding.path));
    for path in outputs.iter().chain(&arguments.save_latents) {
        output::differs_from_inputs(path, inputs.clone().map(|input| &**input))?;
        writer::check(path, arguments.overwrite)?;
    }
    let format = Format::of(&arguments.output)?;
    if arguments.save_latents.as_ref().is_some_and(|latents| outputs.contains(latents)) {
        return Err(output::usage("--save-latents: is the image's file too; name another"));
    }
    let least = || -> Result<f64, ModelError> {
        let memory = Memory::read(&arguments.model, arguments.config.as_deref())?;
        memory.generation(&request, arguments.dtype.into())
    };
    arguments.room.check(&device, least, "make fewer or smaller images, or take --tile")?;
    let pipeline = output::steps(|_| pipeline(arguments, &adapters, &device))?;
    let size @ [height, width] = pipeline.size(&request)?;

    let generated =
        output::steps(|step| Ok(pipeline.generate(&request, &mut |_, of| step("", of))?))?;

    let images = to_pixels(generated.images);
    for ((path, pixels), index) in outputs.iter().zip(images).zip(0..) {
        let seed = request.seed.wrapping_add(index);
        let settings = settings::parameters(arguments, &pipeline, size, seed);
        let bytes = format.bytes(size, &pixels, &settings)?;
        writer::write_bytes(path, &bytes, arguments.overwrite)?;
    }
    if let Some(path) = &arguments.save_latents {
        let latents = generated.latents.cast(DType::F32).into_data();
        let tensors = BTreeMap::from([("latents".to_string(), latents)]);
        writer::write_tensors(path, &tensors, &BTreeMap::new(), arguments.overwrite)?;
    }
    let drawn = match arguments.seed {
        Seed(None) => format!(", seed {}", request.seed),
        Seed(Some(_)) => String::new(),
    };
    output::line(format!(
        "{}: {count} of {width}x{height}, {} steps{drawn}, in {:.1} s",
        arguments.output.display(),
        request.steps,
        begin.elapsed().as_secs_f64()
    ))
}

/// The model with its adapters.
fn pipeline(
    arguments: &Arguments,
    adapters: &[(PathBuf, Strength)],
    device: &Device,
) -> Result<Pipeline> {
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
    let mut learnt = embedding::learn(&mut pipeline, &arguments.embeddings)?;
    let registry = crate::registry();
    for (path, strength) in adapters {
        let attached = attach_file(&mut pipeline, path, strength, &registry)?;
        let placed = attached.placed;
        learnt.extend(attached.learnt);
        arguments.completeness.check(path, &placed.notes, &placed.leftovers)?;
        output::say(format!(
            "{} at {strength}: {} modules, {} weights and biases",
            path.display(),
            placed.modules,
            placed.parameters
        ));
    }
    let prompts = [Some(&arguments.prompt), arguments.negative.as_ref()];
    embedding::tell(&learnt, &pipeline, prompts.into_iter().flatten());
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
