//! `higanbana extract`: an adapter from two checkpoints.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Instant};

use anyhow::Result;
use clap::Args;
use higanbana_io::refit::{Choice, Extract, Extracted};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    output,
    refit::{self, Arithmetic, Keep, Storage},
};

/// Extract an adapter from what tuning added to a model, layer by layer, as close as can be
///
/// Example: higanbana extract base.safetensors tuned.safetensors --adapter lora --rank 16 -o lora.safetensors
#[derive(Args)]
pub struct Arguments {
    /// The model before tuning
    base: PathBuf,
    /// The model after tuning, with the same keys
    tuned: PathBuf,
    /// The adapter
    #[arg(short, long, value_name = "OUT", value_parser = output::tensors())]
    output: PathBuf,
    #[arg(long, value_name = "ALGORITHM", value_parser = algorithm)]
    #[arg(help = refit::algorithms("The algorithm"))]
    adapter: String,
    #[command(flatten)]
    keep: Keep,
    /// Alpha of every module, which the factors make up for; its rank, a scale of 1, if left out
    #[arg(long, value_name = "ALPHA", value_parser = alpha, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Keep the differences of norms too, exactly, in modules of their own
    #[arg(long)]
    norms: bool,
    /// Element type of the file
    #[arg(long, value_enum, default_value = "f32", value_name = "TYPE")]
    dtype: Storage,
    /// Replace an existing output
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Refuses what cannot be fitted.
pub fn algorithm(name: &str) -> Result<String, String> {
    let registry = crate::registry();
    Choice::named(&registry, name).map(|_| name.into()).map_err(|error| error.to_string())
}

fn alpha(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(alpha) if alpha > 0.0 && alpha.is_finite() => Ok(alpha),
        _ => Err("an alpha is a number above 0".into()),
    }
}

/// Extracts.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let registry = crate::registry();
    let choice = Choice::named(&registry, &arguments.adapter)?;
    let budget = arguments.keep.budget_for(&choice)?;
    let (device, compute) = arguments.arithmetic.resolve()?;
    let extract = Extract {
        registry: &registry,
        choice,
        budget,
        alpha: arguments.alpha,
        norms: arguments.norms,
        device,
        compute,
        dtype: arguments.dtype.into(),
    };
    let Arguments { base, tuned, output, overwrite, .. } = arguments;
    output::differs_from_inputs(output, [&**base, &**tuned])?;
    let extracted = output::steps(|step| Ok(extract.run(base, tuned, output, *overwrite, step)?))?;
    let bytes = fs::metadata(output)?.len();
    let seconds = begin.elapsed().as_secs_f64();
    if arguments.json {
        return output::json(&json!({
            "output": output.to_string_lossy(),
            "bytes": bytes,
            "algorithm": arguments.adapter,
            "dialect": extracted.dialect.name(),
            "layers": refit::layers(&extracted.layers)?,
            "total": refit::total(&extracted.total())?,
            "total_of_all": refit::total(&extracted.total_of_all())?,
            "left_out": extracted.left_out,
            "equal": extracted.equal,
            "only_in_base": extracted.only_in_base,
            "only_in_tuned": extracted.only_in_tuned,
            "seconds": seconds,
        }));
    }
    refit::show(&extracted.layers)?;
    let total = extracted.total();
    output::line("")?;
    output::line(format!(
        "{}: {}, {} parameters, {}, in {seconds:.1} s",
        output.display(),
        output::count(extracted.layers.len(), "adapter"),
        total.parameters,
        HumanBytes(bytes)
    ))?;
    output::line(format!(
        "relative error {} of these layers, {} of the whole difference; equal: {}",
        refit::percent(total.relative()),
        refit::percent(extracted.total_of_all().relative()),
        output::count(extracted.equal, "tensor")
    ))?;
    show_rest(&extracted)
}

/// What is not in the file, by reason.
fn show_rest(extracted: &Extracted) -> Result<()> {
    let whole = extracted.total_of_all().norm;
    let mut reasons = BTreeMap::<&str, (usize, f64, &str)>::new();
    for left in &extracted.left_out {
        let entry = reasons.entry(&left.reason).or_insert((0, 0.0, &left.key));
        let (count, square, _) = entry;
        *count += 1;
        *square += left.norm.map_or(0.0, |norm| norm * norm);
    }
    for (reason, (count, square, first)) in reasons {
        let share = refit::percent(square / whole.powi(2));
        let count = output::count(count, "tensor");
        // Without a norm there is no difference to speak of: name one.
        let what = if square > 0.0 {
            format!("{share} of the squared difference")
        } else {
            format!("{first:?} first")
        };
        output::line(format!("left out: {count}, {what}: {reason}"))?;
    }
    for (whose, keys) in [("base", &extracted.only_in_base), ("tuned", &extracted.only_in_tuned)] {
        if let Some(first) = keys.first() {
            let count = output::count(keys.len(), "tensor");
            output::line(format!("only in the {whose} model: {count}, {first:?} first"))?;
        }
    }
    Ok(())
}
