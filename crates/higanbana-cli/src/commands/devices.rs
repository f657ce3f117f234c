//! `higanbana devices`: where this build can compute, and whether it computes right.

use anyhow::{Result, bail};
use burn::tensor::{DType, Device};
use clap::Args;
use higanbana_core::device::{DEVICES, device};
use higanbana_lab::conformance::{self, CASES, Deviation};
use serde_json::json;

use crate::{
    compute::{caught, probe},
    output,
};

/// List the devices: which are compiled in, which answer, and how near they are to double precision
///
/// Example: higanbana devices --check
#[derive(Args)]
pub struct Arguments {
    /// Compare operations and gradients of each device that answers with the CPU in double precision
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The types that are compared, as far as a device has them.
const TYPES: [(&str, DType); 4] =
    [("f64", DType::F64), ("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];

/// Lists the devices.
pub fn run(arguments: &Arguments) -> Result<()> {
    let rows: Vec<_> = DEVICES
        .iter()
        .map(|&(name, _, what)| {
            let state = match device(name) {
                Err(error) => error.to_string(),
                Ok(device) => match probe(&device) {
                    Ok(()) => "ready".to_string(),
                    Err(reason) => format!("no device: {reason}"),
                },
            };
            (name, what, state)
        })
        .collect();
    if arguments.check {
        let ready = rows.iter().filter(|(.., state)| state == "ready").map(|(name, ..)| *name);
        let ready: Vec<_> = ready.collect();
        return output::steps(|_| check(&ready, arguments.json));
    }
    if arguments.json {
        return output::json(
            &rows
                .iter()
                .map(|(name, what, state)| json!({"name": name, "what": what, "state": state}))
                .collect::<Vec<_>>(),
        );
    }
    let mut table = output::table(&["device", "what", "state"]);
    for (name, what, state) in rows {
        table.add_row([name, what, &state]);
    }
    output::show(&table)
}

/// What became of one operation.
struct Line {
    device: &'static str,
    dtype: &'static str,
    operation: &'static str,
    outcome: Result<(Deviation, bool), String>,
}

fn check(names: &[&'static str], json: bool) -> Result<()> {
    let mut lines = Vec::new();
    for &name in names {
        let device = device(name)?;
        let has = |dtype: DType| caught(|| device.supports_dtype(dtype)).unwrap_or(false);
        for (dtype_name, dtype) in TYPES.into_iter().filter(|(_, dtype)| has(*dtype)) {
            lines.extend(compare(&device, dtype).into_iter().map(|(operation, outcome)| {
                let outcome = outcome.map(|found| (found.is_rounding(dtype), found));
                let outcome = outcome.map(|(within, found)| (found, within));
                Line { device: name, dtype: dtype_name, operation, outcome }
            }));
        }
    }
    if json {
        let object = |line: &Line| match &line.outcome {
            Ok((found, within)) => json!({
                "device": line.device, "dtype": line.dtype, "operation": line.operation,
                "value": found.value, "gradient": found.gradient, "within_rounding": within,
            }),
            Err(reason) => json!({
                "device": line.device, "dtype": line.dtype, "operation": line.operation,
                "failure": reason, "within_rounding": false,
            }),
        };
        output::json(&lines.iter().map(object).collect::<Vec<_>>())?;
    } else {
        show(&lines)?;
    }
    let off = |line: &&Line| !matches!(line.outcome, Ok((_, true)));
    match lines.iter().filter(off).count() {
        0 => Ok(()),
        n => bail!("{n} of the comparisons are off by more than rounding"),
    }
}

/// Every operation, and a short training, on one device in one type.
fn compare(device: &Device, dtype: DType) -> Vec<(&'static str, Result<Deviation, String>)> {
    let registry = crate::registry();
    let operations =
        CASES.iter().map(|case| (case.name, caught(|| conformance::compare(case, device, dtype))));
    let mut found: Vec<_> = operations.collect();
    if matches!(dtype, DType::F32 | DType::F64) {
        let training = caught(|| conformance::training(&registry, device, dtype));
        let training = training.and_then(|found| found.map_err(|error| error.to_string()));
        found.push(("training", training));
    }
    found
}

fn show(lines: &[Line]) -> Result<()> {
    let mut table = output::table(&["device", "type", "operation", "value>", "gradient>", ""]);
    for Line { device, dtype, operation, outcome } in lines {
        let row = match outcome {
            Ok((found, within)) => [
                format!("{:.1e}", found.value),
                format!("{:.1e}", found.gradient),
                if *within { String::new() } else { "more than rounding".into() },
            ],
            Err(reason) => ["–".into(), "–".into(), reason.clone()],
        };
        let names = [*device, *dtype, *operation].map(String::from);
        table.add_row(names.into_iter().chain(row));
    }
    output::show(&table)?;
    output::line("")?;
    output::line("Relative deviation from the CPU in f64, of the value and of all gradients")
}
