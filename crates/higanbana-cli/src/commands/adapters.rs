//! `higanbana adapters`: what there is.

use anyhow::Result;
use clap::Args;
use higanbana_adapters::docs::{self, plain_text};
use higanbana_core::{Kind, Training};
use serde_json::json;

use crate::output;

/// List the algorithms: update, degree, rank bound, parameters, options
///
/// Example: higanbana adapters lokr
#[derive(Args)]
pub struct Arguments {
    /// Show one algorithm with its options
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the table of the README
    #[arg(long, conflicts_with_all = ["json", "name"])]
    markdown: bool,
}

/// Prints the list, or one algorithm.
pub fn run(arguments: &Arguments) -> Result<()> {
    let registry = crate::registry();
    let chosen: Vec<&Kind> = match &arguments.name {
        None => registry.iter().collect(),
        Some(name) => match registry.get(name) {
            Some(kind) => vec![kind],
            None => {
                let known: Vec<_> = registry.iter().map(|kind| kind.name()).collect();
                let known = known.join(", ");
                return Err(output::usage(format!(
                    "unknown algorithm `{name}`: there are {known}"
                )));
            }
        },
    };
    if arguments.json {
        return output::json(&chosen.iter().map(|kind| as_json(kind)).collect::<Vec<_>>());
    }
    if arguments.markdown {
        return output::lines(docs::markdown_table(&registry).trim_end());
    }
    if arguments.name.is_some() {
        return chosen.iter().try_for_each(|kind| describe(kind));
    }
    let mut table = output::table(&["name", "degree", "rank at most", "parameters", "update"]);
    for kind in chosen {
        table.add_row([
            kind.name(),
            &docs::degree(kind),
            &plain_text(kind.rank()),
            &plain_text(kind.parameters()),
            &plain_text(kind.formula()),
        ]);
    }
    output::show(&table)?;
    output::line("")?;
    output::line("`higanbana adapters NAME` shows the options of one.")
}

fn describe(kind: &Kind) -> Result<()> {
    let sites: Vec<_> = kind.sites().iter().map(|site| site.name()).collect();
    output::line(format!("{}: {} ({})", kind.name(), kind.title(), kind.reference()))?;
    if let Some(name) = kind.convolutional_name() {
        output::line(format!(
            "  also called   {name}; in extract alone, the plain name leaves convolutions of several taps out"
        ))?;
    }
    output::line(format!("  update        {}", plain_text(kind.formula())))?;
    output::line(format!("  degree        {}", docs::degree(kind)))?;
    output::line(format!("  rank at most  {}", plain_text(kind.rank())))?;
    output::line(format!("  parameters    {}", plain_text(kind.parameters())))?;
    output::line(format!("  adapts        {}", sites.join(", ")))?;
    if let Some(fitted) = kind.fitted() {
        output::line(format!("  fitted as     {fitted}"))?;
    }
    output::line(format!("  file keys     {}", kind.keys().join(", ")))?;
    output::line("  options, with their defaults")?;
    for (name, value) in kind.defaults() {
        output::line(format!("    {name} = {value}"))?;
    }
    output::line("  options of training")?;
    training(kind).try_for_each(|(name, meaning)| output::line(format!("    {name:<20}{meaning}")))
}

/// The options of training that mean something for an algorithm.
fn training(kind: &Kind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let has_degree = kind.degree().is_ok_and(|degree| degree.total().is_some());
    Training::OPTIONS.into_iter().filter(move |(name, _)| has_degree || *name != "max_norm")
}

fn as_json(kind: &Kind) -> serde_json::Value {
    json!({
        "name": kind.name(),
        "convolutional_name": kind.convolutional_name(),
        "title": kind.title(),
        "reference": kind.reference(),
        "update": kind.formula(),
        "degree": docs::degree(kind),
        "rank_bound": kind.rank(),
        "parameters": kind.parameters(),
        "sites": kind.sites().iter().map(|site| site.name()).collect::<Vec<_>>(),
        "keys": kind.keys(),
        "needs_base": kind.needs_base(),
        "fitted": kind.fitted(),
        "arguments": kind.arguments(),
        "options": kind.defaults(),
        "training_options": training(kind).map(|(name, _)| name).collect::<Vec<_>>(),
        "variants": kind.variants().iter().map(|v| v.name).collect::<Vec<_>>(),
    })
}
