//! `higanbana combine`: several adapters as one.

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Args;
use higanbana_io::{
    Source,
    refit::{Combine, Combined, Part},
    writer,
};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    adapter::{self, Adapter},
    output,
    refit::{self, Arithmetic, Keep, Storage},
};

/// Combine adapters into one, whose update of each layer is the sum of theirs: Σ μ_i ΔW_i
///
/// Ranks add up, and the sum is exact; with --rank or the like it is brought to a smaller rank, as close as
/// can be. Differences of weights, biases and norms are added up too. The files are of one dialect.
///
/// Example: higanbana combine style.safetensors:0.8 detail.safetensors:-0.5 -o both.safetensors
#[derive(Args)]
pub struct Arguments {
    /// Adapter files, each with its strength: as trained is 1, a negative one takes away
    #[arg(required = true, value_name = "ADAPTER[:MU]", value_parser = adapter::parser())]
    adapters: Vec<Adapter>,
    /// The combined adapter, in the dialect of the files
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// Element type of the file; one that holds those of all files if left out
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Storage>,
    /// The base model, whose names tell which modules of the files are one layer
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

/// Combines.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (device, compute) = arguments.arithmetic.resolve()?;
    let source = |it: &Adapter| Source { path: it.path.clone(), strength: it.strength(1.0) };
    let sources: Vec<Source> = arguments.adapters.iter().map(source).collect();
    if let Some(nothing) = sources.iter().find(|source| source.strength.uniform() == Some(0.0)) {
        let path = nothing.path.display();
        return Err(output::usage(format!("{path}: strength 0 adds nothing of it; leave it out")));
    }
    let inputs = sources.iter().map(|source| &source.path).chain(&arguments.base);
    output::differs_from_inputs(&arguments.output, inputs.map(PathBuf::as_path))?;
    writer::check(&arguments.output, arguments.overwrite)?;
    let registry = crate::registry();
    let combine = Combine {
        registry: &registry,
        budget: arguments.keep.budget(),
        dtype: arguments.dtype.map(Into::into),
        base: arguments.base.as_deref(),
        device,
        compute,
    };
    let combined = output::steps(|step| Ok(combine.run(&sources, step)?))?;
    let Combined { file, layers, parts, inputs } = &combined;
    for Part { source, notes, leftovers, .. } in parts {
        arguments.completeness.check(&source.path, notes, leftovers)?;
    }
    output::keeps_inputs(&file.files(&arguments.output), inputs)?;
    file.write(&arguments.output, arguments.overwrite)?;

    let total = combined.total();
    let bytes = fs::metadata(&arguments.output)?.len();
    if arguments.json {
        let part = |part: &Part| {
            json!({
                "file": part.source.path.to_string_lossy(),
                "strength": part.source.strength,
                "modules": part.modules,
                "leftovers": part.leftovers,
                "notes": part.notes,
            })
        };
        return output::json(&json!({
            "output": arguments.output.to_string_lossy(),
            "bytes": bytes,
            "adapters": parts.iter().map(part).collect::<Vec<_>>(),
            "layers": refit::layers(layers)?,
            "total": refit::total(&total)?,
        }));
    }
    refit::show(layers)?;
    output::line("")?;
    output::line(format!(
        "{}: {} of {}, {} parameters, {}; relative error {}",
        arguments.output.display(),
        output::count(layers.len(), "sum"),
        output::count(parts.len(), "file"),
        total.parameters,
        HumanBytes(bytes),
        refit::percent(total.relative())
    ))
}
