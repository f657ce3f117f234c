//! `higanbana devices`: where this build can compute.

use anyhow::Result;
use clap::Args;
use higanbana_core::device::{DEVICES, device};
use serde_json::json;

use crate::{compute::probe, output};

/// List the devices: which are compiled in, which answer
///
/// Example: higanbana devices
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the list.
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
