//! `higanbana merge`: adapters become part of the base.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use clap::Args;
use higanbana_io::apply::{Fitting, Merge, Placed, Planned, Source, number};
use serde_json::json;

use crate::{
    adapter::{self, Adapter},
    output,
    refit::Arithmetic,
};

/// Merge adapters into a base model: W = W0 + Σ (W_i(μ_i) − W0), each from the untouched base
///
/// Example: higanbana merge base.safetensors style.safetensors:0.8 other.safetensors -o merged.safetensors
#[derive(Args)]
pub struct Arguments {
    /// The base model: a file, or a directory of diffusers'
    base: PathBuf,
    #[arg(required = true, value_name = "ADAPTER[:MU]", value_parser = adapter::parser())]
    #[arg(help = adapter::help("Adapter files, or directories of PEFT's, each with its strength"))]
    adapters: Vec<Adapter>,
    /// The merged model
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    /// Strength of the adapters that are given without one
    #[arg(long, default_value_t = 1.0, value_name = "MU", allow_negative_numbers = true)]
    #[arg(value_parser = number)]
    multiplier: f64,
    /// Leave a module out, by its name in the file; may be given more than once
    #[arg(long, value_name = "MODULE")]
    leave_out: Vec<String>,
    /// Where a convolution of the base has more input channels than the adapter's (nine of inpainting), let
    /// the update be zero for the others
    #[arg(long)]
    pad: bool,
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

/// Merges.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let (device, dtype) = arguments.arithmetic.resolve()?;
    let sources = arguments.adapters.iter().map(|adapter| Source {
        path: adapter.path.clone(),
        strength: adapter.strength(arguments.multiplier),
    });
    let sources: Vec<Source> = sources.collect();
    let inputs = sources.iter().map(|source| &*source.path).chain([&*arguments.base]);
    output::differs_from_inputs(&arguments.output, inputs)?;
    let registry = crate::registry();
    let Arguments { base, leave_out, pad, .. } = arguments;
    let fitting = Fitting { leave_out: leave_out.clone(), pad: *pad };
    let merge = output::steps(|_| {
        Ok(Merge::plan_with(base, &sources, &registry, &device, dtype, &fitting)?)
    })?;
    output::leftovers(base, &merge.notes(), &[]);
    for Planned { source, placed, .. } in merge.planned() {
        let Placed { notes, leftovers, .. } = placed;
        arguments.completeness.check(&source.path, notes, leftovers)?;
    }
    output::steps(|step| {
        let progress = |key: &str| step(key, merge.tensors());
        Ok(merge.write(&arguments.output, arguments.overwrite, progress)?)
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    if arguments.json { json(arguments, &merge, seconds) } else { show(arguments, &merge, seconds) }
}

fn show(arguments: &Arguments, merge: &Merge, seconds: f64) -> Result<()> {
    for Planned { source, dialect, placed } in merge.planned() {
        output::line(format!(
            "{} at {}: {} of {dialect} for {} of the base",
            source.path.display(),
            source.strength,
            output::count(placed.modules, "module"),
            output::count(placed.parameters, "tensor")
        ))?;
    }
    output::line(format!(
        "{}: {} of {} tensors changed, in {seconds:.1} s",
        arguments.output.display(),
        merge.changed(),
        merge.tensors()
    ))
}

fn json(arguments: &Arguments, merge: &Merge, seconds: f64) -> Result<()> {
    let adapters = merge.planned().iter().map(|planned| {
        json!({
            "file": planned.source.path.to_string_lossy(),
            "strength": planned.source.strength,
            "dialect": planned.dialect.name(),
            "modules": planned.placed.modules,
            "parameters": planned.placed.parameters,
            "leftovers": planned.placed.leftovers,
            "notes": planned.placed.notes,
        })
    });
    output::json(&json!({
        "output": arguments.output.to_string_lossy(),
        "base": arguments.base.to_string_lossy(),
        "notes": merge.notes(),
        "adapters": adapters.collect::<Vec<_>>(),
        "tensors": merge.tensors(),
        "changed": merge.changed(),
        "seconds": seconds,
    }))
}
