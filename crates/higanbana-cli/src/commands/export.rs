//! `higanbana export`: a model in the other layout.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use higanbana_diffusion::{
    layout::{to_file, to_folder},
    weights::{Family, Saving},
};

use crate::{output, refit::Storage};

/// Write a model in the other layout: a directory of diffusers as a single file of the web UIs, or a
/// single file as a directory
///
/// Example: higanbana export sd15 -o sd15.safetensors --dtype f16
#[derive(Args)]
pub struct Arguments {
    /// A model directory, as diffusers saves it, or a single file
    #[arg(value_name = "DIR|FILE")]
    model: PathBuf,
    /// The file, or the new directory
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    /// Element type; that of each tensor if left out
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Storage>,
    /// With a single file that is no published model's: a model directory with its configurations
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Replace an existing file; a directory is never replaced
    #[arg(long)]
    overwrite: bool,
}

/// Exports.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { model, output: out, dtype, config, overwrite } = arguments;
    output::differs_from_inputs(out, config.iter().chain([model]).map(|input| &**input))?;
    let single = model.is_file();
    if !single && config.is_some() {
        return Err(output::usage("--config: a model directory has its own configurations"));
    }
    let family = output::steps(|progress| {
        let saving = Saving { dtype: dtype.map(Into::into), overwrite: *overwrite, progress };
        Ok(match single {
            true => to_folder(model, out, config.as_deref(), &saving)?,
            false => to_file(model, out, &saving)?,
        })
    })?;
    let family = match family {
        Family::Sd1 => "SD 1",
        Family::Sd2 => "SD 2",
        Family::Sdxl => "SDXL",
    };
    let kind = if single { "directory" } else { "single file" };
    output::line(format!("{}: {family} as a {kind}", out.display()))
}
