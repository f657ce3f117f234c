//! `higanbana rank`: rank and size of every update of an adapter file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use higanbana_core::Registry;
use higanbana_io::writer::write_text;
use higanbana_lab::{
    study::{Table, digits},
    survey::{FileRanks, measure},
};

use crate::{compute::Compute, output};

/// What `--json` prints; the types of `higanbana_lab::survey` say what each field means.
const JSON: &str = "\
JSON:
  file, base or null, dialect,
  layers: [{name, algorithm, shape: [number], parameters, rank_bound, rank,
            stable_rank, effective_rank, rank_90, rank_99,
            frobenius, spectral, nuclear,
            unfoldings: {input: {rank, ...}, kernel: {rank, ...}},
            against_base: {relative_frobenius, relative_spectral,
                           intruders: [[bound, count]], smallest_angle,
                           leading}}],
  total: {layers, parameters, rank, rank_bound, stable_rank, effective_rank,
          frobenius, spectral},
  unknown: [{name, reason}], leftovers: [{name, reason, harmless}],
  notes: [text]
With --compare: {first: {...}, second: {...}}

Measures are those of the update at strength 1 as the matrix [out, in·kernel], computed in f64; in \
`total`, ranks are sums, stable and effective ranks means, the Frobenius norm that of all together and \
the spectral norm the largest. Unfoldings are the matrices [in, out·kernel] and [kernel, out·in] of \
convolutions of more than one tap. There is `against_base` with --base alone; an update of infinite \
size beside its base is null.";

/// Show rank and size of every update of an adapter file
///
/// Example: higanbana rank adapter.safetensors --base model.safetensors --html rank.html
#[derive(Args)]
#[command(after_long_help = JSON)]
pub struct Arguments {
    /// An adapter file of any dialect
    file: PathBuf,
    /// The base model: some updates are computed from its weights, and all are measured beside them
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Another adapter file, to be shown beside the first
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    #[command(flatten)]
    compute: Compute,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    /// Write a page as well
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Replace an existing page
    #[arg(long, requires = "html")]
    overwrite: bool,
}

/// Measures and shows.
pub fn run(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    if let Some(html) = &arguments.html {
        let files = [Some(&arguments.file), arguments.base.as_ref(), arguments.compare.as_ref()];
        output::differs_from_inputs(html, files.into_iter().flatten().map(PathBuf::as_path))?;
    }
    let registry = crate::registry();
    let of = |path: &Path| file(path, arguments, &registry, &device);
    let first = of(&arguments.file)?;
    let second = arguments.compare.as_deref().map(of).transpose()?;
    let table = match &second {
        None => first.table(),
        Some(second) => first.beside(second),
    };
    if let Some(html) = &arguments.html {
        write_text(
            html,
            &first.study(second.as_ref(), table.clone()).page()?,
            arguments.overwrite,
        )?;
    }
    match (arguments.json, arguments.csv, &second) {
        (true, _, None) => output::json(&first),
        (true, _, Some(second)) => {
            output::json(&serde_json::json!({ "first": first, "second": second }))
        }
        (_, true, _) => output::lines(table.csv().trim_end()),
        _ => show(&table, [Some(&first), second.as_ref()]),
    }
}

fn file(
    path: &Path,
    arguments: &Arguments,
    registry: &Registry,
    device: &Device,
) -> Result<FileRanks> {
    let ranks = output::steps(|step| {
        Ok(measure(path, arguments.base.as_deref(), registry, device, step)?)
    })?;
    output::leftovers(path, &ranks.notes, &ranks.leftovers);
    for unknown in &ranks.unknown {
        output::say(format!("warning: {}: {unknown}", path.display()));
    }
    Ok(ranks)
}

fn show(table: &Table, files: [Option<&FileRanks>; 2]) -> Result<()> {
    let headings: Vec<String> = table
        .headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let numeric = table.rows.iter().any(|row| row[column].value.is_some());
            format!("{heading}{}", if numeric { ">" } else { "" })
        })
        .collect();
    let mut shown = output::table(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &table.rows {
        shown.add_row(row.iter().map(|cell| cell.text.as_str()));
    }
    output::show(&shown)?;
    for file in files.into_iter().flatten() {
        let FileRanks { file, total, .. } = file;
        output::line("")?;
        output::line(format!(
            "{}: {}, {}; ranks {} of at most {}; mean stable rank {}, mean effective rank {}; norm {}",
            file.display(),
            output::count(total.layers, "layer"),
            output::count(total.parameters, "parameter"),
            total.rank,
            total.rank_bound,
            digits(total.stable_rank),
            digits(total.effective_rank),
            digits(total.frobenius),
        ))?;
    }
    Ok(())
}
