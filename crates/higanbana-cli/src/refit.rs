//! What the commands share that fit adapters to updates.

use anyhow::{Result, bail};
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use higanbana_core::Budget;
use higanbana_io::refit::{Choice, Refitted, Total};
use serde_json::{Value, json};

use crate::{compute::Compute, output};

/// How much of each update to keep.
#[derive(Args)]
#[group(multiple = false)]
pub struct Keep {
    /// Keep this rank
    #[arg(long, value_name = "R", value_parser = rank, allow_negative_numbers = true)]
    rank: Option<usize>,
    /// Keep this share of the squared norm, such as 0.95, with as small a rank as will do
    #[arg(long, value_name = "E", value_parser = share, allow_negative_numbers = true)]
    energy: Option<f64>,
    /// Keep the singular values above this number, the largest in any case
    #[arg(long, value_name = "T", value_parser = bound, allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Keep the singular values above this share of the largest
    #[arg(long, value_name = "Q", value_parser = share, allow_negative_numbers = true)]
    ratio: Option<f64>,
}

impl Keep {
    /// The budget, where one is given.
    pub fn budget(&self) -> Option<Budget> {
        let rank = self.rank.map(Budget::Rank);
        let energy = self.energy.map(Budget::Energy);
        let threshold = self.threshold.map(Budget::Threshold);
        rank.or(energy).or(threshold).or(self.ratio.map(Budget::Ratio))
    }

    /// The budget for an algorithm; one that keeps everything needs none.
    pub fn budget_for(&self, choice: &Choice) -> Result<Budget> {
        let name = choice.kind.name();
        match self.budget() {
            Some(_) if choice.is_dense() => {
                Err(output::usage(format!("{name} keeps everything; leave out how much to keep")))
            }
            Some(budget) => Ok(budget),
            None if choice.is_dense() => Ok(Budget::Energy(1.0)),
            None => Err(output::usage(format!(
                "how much shall {name} keep? Give --rank R, --energy E, --threshold T or --ratio Q"
            ))),
        }
    }
}

fn rank(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rank) if rank > 0 => Ok(rank),
        _ => Err("a rank is a whole number, 1 or more".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("a share is a number above 0, at most 1".into()),
    }
}

fn bound(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(bound) if bound >= 0.0 && bound.is_finite() => Ok(bound),
        _ => Err("a threshold is a number, 0 or more".into()),
    }
}

/// The algorithms that an update can be put into, for help.
pub fn algorithms(begin: &str) -> String {
    let registry = crate::registry();
    let choices = Choice::all(&registry);
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let narrow = choices.iter().filter(|(_, choice)| !choice.convolutions);
    let narrow = narrow.map(|(name, choice)| {
        let wide = choice.kind.convolutional_name().unwrap_or_default();
        format!("; {name} leaves convolutions of several taps out, {wide} does not")
    });
    let narrow: String = narrow.collect();
    format!(
        "{begin}: {}{narrow}. `higanbana adapters NAME` says how each is fitted",
        names.join(", ")
    )
}

/// Where and how precisely to compute.
#[derive(Args)]
pub struct Arithmetic {
    #[command(flatten)]
    compute: Compute,
    /// Compute in f64 instead of f32
    #[arg(long)]
    precise: bool,
}

impl Arithmetic {
    /// The device and the element type to compute in.
    pub fn resolve(&self) -> Result<(Device, DType)> {
        let device = self.compute.device()?;
        let dtype = if self.precise { DType::F64 } else { DType::F32 };
        if !device.supports_dtype(dtype) {
            bail!("--precise: this device has no f64, leave it out or take --device flex");
        }
        Ok((device, dtype))
    }
}

/// Element type of a written file.
#[derive(Clone, Copy, ValueEnum)]
pub enum Storage {
    /// 32 bits
    F32,
    /// 16 bits, to 3 digits
    F16,
    /// 16 bits, to 2 digits
    Bf16,
}

impl From<Storage> for DType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32,
            Storage::F16 => Self::F16,
            Storage::Bf16 => Self::BF16,
        }
    }
}

/// Writes the layers as a table, with their errors.
pub fn show(layers: &[Refitted]) -> Result<()> {
    let headings = ["module", "algorithm", "shape", "rank>", "parameters>", "norm>", "error>"];
    let mut table = output::table(&headings);
    for layer in layers {
        let shape: Vec<_> = layer.shape.iter().map(usize::to_string).collect();
        table.add_row([
            if layer.parameter == "bias" {
                format!("{} (bias)", layer.module)
            } else {
                layer.module.clone()
            },
            layer.fit.algorithm.clone(),
            shape.join("×"),
            layer.fit.rank.map_or_else(|| "–".into(), |rank| rank.to_string()),
            layer.fit.parameters.to_string(),
            format!("{:.4}", layer.fit.norm),
            percent(layer.fit.relative()),
        ]);
    }
    output::show(&table)?;
    local_optima(layers)
}

/// Says which fits another start might come nearer than, and how near at best.
fn local_optima(layers: &[Refitted]) -> Result<()> {
    let local: Vec<&Refitted> =
        layers.iter().filter(|layer| layer.fit.local_optimum.is_some()).collect();
    let Some(first) = local.first() else { return Ok(()) };
    let sum = |of: fn(&Refitted) -> f64| local.iter().map(|layer| of(layer)).fold(0.0, f64::hypot);
    let [norm, error, least] = [
        sum(|it| it.fit.norm),
        sum(|it| it.fit.error),
        sum(|it| it.fit.local_optimum.unwrap_or(0.0)),
    ];
    output::line(format!(
        "local optimum: {} of {}; {} of them is missing, and a nearer {} may exist, to {} at best",
        local.len(),
        output::count(layers.len(), "layer"),
        percent(error / norm),
        first.fit.algorithm,
        percent(least / norm)
    ))
}

/// A relative error.
pub fn percent(relative: f64) -> String {
    match relative {
        0.0 => "0".into(),
        small if small < 1e-4 => format!("{small:.1e}"),
        other => format!("{:.2} %", 100.0 * other),
    }
}

/// The layers in JSON, with their relative errors.
pub fn layers(layers: &[Refitted]) -> Result<Vec<Value>> {
    let layer = |layer: &Refitted| {
        let mut value = serde_json::to_value(layer)?;
        value["relative_error"] = json!(layer.fit.relative());
        Ok(value)
    };
    layers.iter().map(layer).collect()
}

/// A total in JSON, with its relative error.
pub fn total(total: &Total) -> Result<Value> {
    let mut value = serde_json::to_value(total)?;
    value["relative_error"] = json!(total.relative());
    Ok(value)
}
