//! `higanbana resize`: an adapter at a smaller rank.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Args;
use higanbana_io::{
    refit::{Resize, Resized},
    writer,
};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    output,
    refit::{self, Arithmetic, Keep, Storage},
};

/// Bring the adapters of a file to a smaller rank, each in its own algorithm, as close as can be
///
/// Example: higanbana resize adapter.safetensors --rank 8 -o small.safetensors
#[derive(Args)]
pub struct Arguments {
    /// An adapter file; its metadata (algo of ss_network_args) tell algorithms apart whose tensors do
    /// not, such as one of nested ranks, which is cut to the leading ones
    file: PathBuf,
    /// The smaller file, in which every module keeps its name
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// Element type of the file; that of each module's own if left out
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Storage>,
    /// The base model: some updates are computed from its weights
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    #[command(flatten)]
    completeness: output::Completeness,
    /// Replace an existing output
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Resizes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let budget = arguments.keep.budget();
    let how = "how much to keep? Give --rank R, --energy E, --threshold T or --ratio Q";
    let budget = budget.ok_or_else(|| output::usage(how))?;
    let (device, compute) = arguments.arithmetic.resolve()?;
    let inputs = [Some(&arguments.file), arguments.base.as_ref()];
    output::differs_from_inputs(&arguments.output, inputs.into_iter().flatten().map(|it| &**it))?;
    writer::check(&arguments.output, arguments.overwrite)?;
    let registry = crate::registry();
    let base = arguments.base.as_deref();
    let dtype = arguments.dtype.map(Into::into);
    let resize = Resize { registry: &registry, budget, dtype, base, device, compute };
    let resized = output::steps(|step| Ok(resize.run(&arguments.file, step)?))?;
    let Resized { file, layers, kept, not_smaller, leftovers, notes, inputs } = &resized;
    arguments.completeness.check(&arguments.file, notes, leftovers)?;
    output::keeps_inputs(&file.files(&arguments.output), inputs)?;
    file.write(&arguments.output, arguments.overwrite)?;

    let total = resized.total();
    let [before, bytes] = [&arguments.file, &arguments.output]
        .map(|path| fs::metadata(path).map_or(0, |about| about.len()));
    if arguments.json {
        return output::json(&json!({
            "output": arguments.output.to_string_lossy(),
            "bytes": bytes,
            "layers": refit::layers(layers)?,
            "total": refit::total(&total)?,
            "kept": kept,
            "not_smaller": not_smaller,
            "leftovers": leftovers,
            "notes": notes,
        }));
    }
    refit::show(layers)?;
    output::line("")?;
    output::line(format!(
        "{}: {}, {} parameters, {} after {}; relative error {}",
        arguments.output.display(),
        output::count(layers.len(), "adapter"),
        total.parameters,
        HumanBytes(bytes),
        HumanBytes(before),
        refit::percent(total.relative())
    ))?;
    stay(kept, "has no rank", "have no rank")?;
    stay(not_smaller, "would not be smaller", "would not be smaller")
}

/// Says how many modules stay as they are, and why one does, or several.
fn stay(modules: &[String], has: &str, have: &str) -> Result<()> {
    match modules.len() {
        0 => Ok(()),
        1 => output::line(format!("1 module {has} and stays as it is")),
        count => output::line(format!("{count} modules {have} and stay as they are")),
    }
}
