//! `higanbana unet`: one call of a UNet.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use burn::tensor::{DType, Tensor};
use clap::Args;
use higanbana_diffusion::{Added, UNet2DConditionModel, weights::tensor};
use higanbana_io::{Checkpoint, writer};

use crate::{compute::Compute, output, refit::Storage};

/// Run a UNet once on given tensors, to check numbers
///
/// The input holds sample, timestep and encoder_hidden_states, for SDXL also text_embeds and
/// time_ids, for LCM timestep_cond; the output holds out.
///
/// Example: higanbana unet --model sd15 --input in.safetensors -o out.safetensors
#[derive(Args)]
pub struct Arguments {
    /// A model directory of diffusers: a pipeline's, or its unet
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The tensors
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where to write the result
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    /// What to compute in
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: Storage,
    /// Replace an existing output
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    compute: Compute,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    let dtype = DType::from(arguments.dtype);
    output::differs_from_inputs(&arguments.output, [&*arguments.input, &*arguments.model])?;
    writer::check(&arguments.output, arguments.overwrite)?;
    let input = Checkpoint::open(&arguments.input)?;
    let sample: Tensor<4> = tensor(&input, "sample", &device, dtype)?;
    // A time has no exact half precision.
    let times: Tensor<1> = tensor(&input, "timestep", &device, DType::F32)?;
    let context: Tensor<3> = tensor(&input, "encoder_hidden_states", &device, dtype)?;
    let added = match input.info("text_embeds").is_some() || input.info("time_ids").is_some() {
        false => None,
        true => Some(Added {
            text_embeds: tensor(&input, "text_embeds", &device, dtype)?,
            time_ids: tensor(&input, "time_ids", &device, DType::F32)?,
        }),
    };
    let guidance = input.info("timestep_cond").is_some();
    let guidance = guidance.then(|| tensor::<2>(&input, "timestep_cond", &device, dtype));
    let part = arguments.model.join("unet");
    let folder = if part.is_dir() { part } else { arguments.model.clone() };
    let bar = output::progress(0);
    let unet = UNet2DConditionModel::read(&folder, &device, dtype)?;
    let shapes = added.as_ref().map(|added| (added.text_embeds.dims(), added.time_ids.dims()));
    unet.check(sample.dims(), times.dims()[0], context.dims(), shapes)?;
    let guidance = guidance.transpose()?;
    unet.check_guidance(sample.dims()[0], guidance.as_ref().map(Tensor::dims))?;

    let out = unet.forward_guided(sample, times, context, added.as_ref(), guidance);
    let out = out.cast(DType::F32).into_data();
    bar.finish_and_clear();
    let shape = out.shape().to_vec();
    let tensors = BTreeMap::from([("out".to_string(), out)]);
    writer::write_tensors(&arguments.output, &tensors, &BTreeMap::new(), arguments.overwrite)?;
    output::line(format!("{}: out {shape:?}", arguments.output.display()))
}
