//! `higanbana inspect`: what is in a file.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use higanbana_io::{
    Embedding,
    apply::{Adapters, Contents, Embeddings, Inspection, Row, inspect},
};
use indicatif::HumanBytes;

use crate::{compute::Compute, output};

/// What `--json` prints; the types of `higanbana_io::apply` say what each field means.
const JSON: &str = "\
JSON of an adapter:
  kind: \"adapter\", file, bytes, dialect, modules, parameters, norm or null,
  adapters: [{module, parameter: \"weight\" | \"bias\", key or null, algorithm,
              shape: [number or null] or null, unfolded, rank or null,
              alpha or null, parameters, dtype, norm or null}],
  embeddings: [{token, encoder: \"text_encoder\" | \"text_encoder_2\" or null, key,
                vectors, width, dtype}],
  leftovers: [{name, reason, harmless}], notes: [text], metadata: {key: text}
JSON of an embedding (textual inversion):
  kind: \"embedding\", file, bytes, embeddings: as above, metadata: {key: text}
JSON of any other file:
  kind: \"checkpoint\", file, bytes, family or null, models: [text],
  looks_like: [text], no_adapter: text, tensors, parameters,
  dtypes: {dtype: {tensors, parameters}}, notes: [text], metadata: {key: text},
  keys: [{key, dtype, shape: [number]}]

A size is null where the file leaves it open; where unfolded is true, the columns of shape may be in·K \
of a convolution. A norm is null where the update depends on the base weight and no --base has it, and \
where it overflows; that of the file, where one of them is.";

/// Show what is in a file: algorithm, shape, rank, alpha and norm of every adapter, totals, metadata;
/// of any other its keys and shapes, what it looks like, and why it is no adapter
///
/// Example: higanbana inspect adapter.safetensors --base model.safetensors
#[derive(Args)]
#[command(after_long_help = JSON)]
pub struct Arguments {
    /// An adapter, an embedding, or any other file of tensors, or a directory of them
    file: PathBuf,
    /// The base model: some updates are computed from its weights
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Refuse a file with a module or a tensor that has no use
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    compute: Compute,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    let registry = crate::registry();
    let inspection = output::steps(|step| {
        Ok(inspect(&arguments.file, arguments.base.as_deref(), &registry, &device, step)?)
    })?;
    if let Inspection::Adapter(adapters) = &inspection {
        let Adapters { notes, leftovers, .. } = &**adapters;
        output::leftovers(&arguments.file, notes, leftovers);
        if arguments.strict && !leftovers.is_empty() {
            let (file, count) = (arguments.file.display(), leftovers.len());
            bail!(
                "{file}: no use for {count} of its modules and tensors; leave out --strict to go on"
            );
        }
    }
    match (&inspection, arguments.json) {
        (_, true) => output::json(&inspection),
        (Inspection::Adapter(adapters), false) => show_adapters(adapters, arguments),
        (Inspection::Embedding(embeddings), false) => show_embeddings(embeddings),
        (Inspection::Checkpoint(contents), false) => show_contents(contents),
    }
}

fn show_adapters(adapters: &Adapters, arguments: &Arguments) -> Result<()> {
    let headings =
        ["module", "algorithm", "shape", "rank>", "alpha>", "norm>", "parameters>", "dtype"];
    let mut table = output::table(&headings);
    for row in &adapters.adapters {
        let name = match row.parameter {
            "weight" => row.module.clone(),
            parameter => format!("{} ({parameter})", row.module),
        };
        table.add_row([
            name,
            row.algorithm.to_string(),
            row.shape.as_ref().map_or_else(unknown, |shape| dimensions(shape, row.unfolded)),
            row.rank.map_or_else(unknown, |rank| rank.to_string()),
            row.alpha.map_or_else(unknown, |alpha| (alpha as f32).to_string()),
            row.norm.map_or_else(unknown, |norm| format!("{norm:.4}")),
            row.parameters.to_string(),
            row.dtype.clone(),
        ]);
    }
    output::show(&table)?;
    output::line("")?;
    output::line(format!(
        "{}: {} of {}, {}, {}{}",
        adapters.file.display(),
        output::count(adapters.modules, "module"),
        adapters.dialect,
        output::count(adapters.parameters, "parameter"),
        HumanBytes(adapters.bytes),
        adapters.norm.map(|norm| format!(", norm {norm:.4}")).unwrap_or_default()
    ))?;
    if adapters.adapters.iter().any(|row| row.norm.is_some_and(f64::is_infinite)) {
        output::line("A norm is inf where the update overflows f32.")?;
    }
    if let Some(row) = adapters.adapters.iter().find(|row| row.norm.is_none()) {
        let why = match arguments.base {
            None => "give --base FILE",
            Some(_) => "the base does not have them all",
        };
        let algorithm = row.algorithm;
        output::line(format!("The update of {algorithm} is not known without the base: {why}."))?;
    }
    if !adapters.embeddings.is_empty() {
        output::line("")?;
        show_tokens(&adapters.embeddings)?;
    }
    show_metadata(&adapters.metadata)
}

fn show_embeddings(embeddings: &Embeddings) -> Result<()> {
    show_tokens(&embeddings.embeddings)?;
    output::line("")?;
    output::line(format!(
        "{}: {}, {}",
        embeddings.file.display(),
        output::count(embeddings.embeddings.len(), "embedding"),
        HumanBytes(embeddings.bytes)
    ))?;
    show_metadata(&embeddings.metadata)
}

fn show_tokens(embeddings: &[Embedding]) -> Result<()> {
    let mut table = output::table(&["token", "text encoder", "vectors>", "width>", "dtype"]);
    for it in embeddings {
        table.add_row([
            it.token.clone(),
            it.published().map_or_else(unknown, String::from),
            it.vectors.to_string(),
            it.width.to_string(),
            it.dtype.clone(),
        ]);
    }
    output::show(&table)
}

fn show_contents(contents: &Contents) -> Result<()> {
    output::line(format!(
        "{}: no adapter; {}, {}, {}",
        contents.file.display(),
        output::count(contents.tensors, "tensor"),
        output::count(contents.parameters, "parameter"),
        HumanBytes(contents.bytes)
    ))?;
    for (dtype, count) in &contents.dtypes {
        output::line(format!(
            "  {dtype}: {}, {}",
            output::count(count.tensors, "tensor"),
            output::count(count.parameters, "parameter")
        ))?;
    }
    output::line(format!("  family: {}", contents.family.unwrap_or("unknown")))?;
    if !contents.models.is_empty() {
        output::line(format!("  models: {}", contents.models.join(", ")))?;
    }
    if !contents.looks_like.is_empty() {
        output::line(format!("  looks like: {}", contents.looks_like.join(", ")))?;
    }
    output::line(format!("  no adapter: {}", contents.no_adapter))?;
    contents.notes.iter().try_for_each(|note| output::line(format!("  note: {note}")))?;
    show_keys(&contents.keys)?;
    show_metadata(&contents.metadata)
}

/// A model has hundreds: the first of them are shown, and JSON has all.
fn show_keys(keys: &[Row]) -> Result<()> {
    const SHOWN: usize = 20;
    if keys.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["key", "dtype", "shape"]);
    for Row { key, dtype, shape } in keys.iter().take(SHOWN) {
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        table.add_row([key, dtype, &shape]);
    }
    output::line("")?;
    output::show(&table)?;
    match keys.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => output::line(format!("... and {more} more; --json has all")),
    }
}

/// Values can be whole tables of training data: their beginning is shown.
fn show_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    const SHOWN: usize = 80;
    if !metadata.is_empty() {
        output::line("")?;
        output::line("metadata")?;
    }
    for (key, value) in metadata {
        let mut start: String = value.chars().take(SHOWN).collect();
        if start.len() < value.len() {
            start += "...";
        }
        output::line(format!("  {key}: {start}"))?;
    }
    Ok(())
}

/// A size that the file leaves open is a question mark; columns may hide a kernel's taps.
fn dimensions(shape: &[Option<usize>], unfolded: bool) -> String {
    let size = |size: &Option<usize>| size.map_or_else(|| "?".into(), |size| size.to_string());
    let shape = shape.iter().map(size).collect::<Vec<_>>().join("×");
    if unfolded { format!("{shape} (in·K)") } else { shape }
}

fn unknown() -> String {
    "–".into()
}
