//! `higanbana convert`: an adapter file in another dialect.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Args;
use higanbana_core::Registry;
use higanbana_io::{
    Dialect,
    refit::{Bake, Choice, Convert, Converted},
    writer,
};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    output,
    refit::{self, Arithmetic, Keep, Storage},
};

/// Convert an adapter file to another dialect, and bake it into an algorithm that the dialect holds
///
/// Example: higanbana convert lokr.safetensors --to diffusers --bake lora --rank 32 -o lora.safetensors
#[derive(Args)]
pub struct Arguments {
    /// An adapter file of any dialect
    input: PathBuf,
    /// The converted file; PEFT's configuration is written beside it
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    /// Dialect: lycoris, kohya, diffusers or peft
    #[arg(long, value_name = "DIALECT", value_parser = |name: &str| name.parse::<Dialect>())]
    to: Dialect,
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    #[arg(help = refit::algorithms("Put every update into one algorithm, or diff for all of it"))]
    bake: Option<String>,
    #[command(flatten)]
    keep: Keep,
    /// Element type of what is baked; that of the file if left out
    #[arg(long, value_enum, requires = "bake", value_name = "TYPE")]
    dtype: Option<Storage>,
    /// The base model: its names, and its weights where an update is computed from them
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

fn algorithm(name: &str) -> Result<String, String> {
    let registry = crate::registry();
    chosen(&registry, name).map(|_| name.into()).map_err(|error| error.to_string())
}

/// By name, or by the first of its keys in a file: `diff`.
fn chosen<'a>(registry: &'a Registry, name: &str) -> Result<Choice<'a>> {
    let by_key = Choice::all(registry).into_iter().find(|(_, it)| it.kind.keys()[0] == name);
    match by_key {
        Some((_, choice)) => Ok(choice),
        None => Ok(Choice::named(registry, name)?),
    }
}

/// Converts.
pub fn run(arguments: &Arguments) -> Result<()> {
    let registry = crate::registry();
    let bake = match &arguments.bake {
        None if arguments.keep.budget().is_some() => {
            let what =
                "how much to keep is asked for where something is baked; add --bake ALGORITHM";
            return Err(output::usage(what));
        }
        None => None,
        Some(name) => {
            let choice = chosen(&registry, name)?;
            let budget = arguments.keep.budget_for(&choice)?;
            Some(Bake { choice, budget, dtype: arguments.dtype.map(Into::into) })
        }
    };
    let (device, compute) = arguments.arithmetic.resolve()?;
    let inputs = [Some(&arguments.input), arguments.base.as_ref()];
    output::differs_from_inputs(&arguments.output, inputs.into_iter().flatten().map(|it| &**it))?;
    writer::check(&arguments.output, arguments.overwrite)?;
    let base = arguments.base.as_deref();
    let convert = Convert { registry: &registry, to: arguments.to, base, bake, device, compute };
    let converted = output::steps(|step| Ok(convert.run(&arguments.input, step)?))?;
    let Converted { file, layers, leftovers, notes, inputs } = &converted;
    arguments.completeness.check(&arguments.input, notes, leftovers)?;
    output::keeps_inputs(&file.files(&arguments.output), inputs)?;
    file.write(&arguments.output, arguments.overwrite)?;

    let total = converted.total();
    let bytes = fs::metadata(&arguments.output)?.len();
    let tensors = file.tensors.len();
    if arguments.json {
        return output::json(&json!({
            "output": arguments.output.to_string_lossy(),
            "bytes": bytes,
            "dialect": arguments.to.name(),
            "tensors": tensors,
            "baked": refit::layers(layers)?,
            "total": refit::total(&total)?,
            "leftovers": leftovers,
            "notes": notes,
        }));
    }
    if !layers.is_empty() {
        refit::show(layers)?;
        output::line("")?;
    }
    output::line(format!(
        "{}: {} of {}, {}",
        arguments.output.display(),
        output::count(tensors, "tensor"),
        arguments.to,
        HumanBytes(bytes)
    ))?;
    match layers.len() {
        0 => Ok(()),
        count => output::line(format!(
            "{} baked, relative error {}",
            output::count(count, "update"),
            refit::percent(total.relative())
        )),
    }
}
