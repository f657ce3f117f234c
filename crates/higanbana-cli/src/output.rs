//! Tables, JSON and progress.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::Path,
};

use anyhow::{Error, Result};
use comfy_table::{CellAlignment, Table, presets};
use higanbana_io::Leftover;
use indicatif::{ProgressBar, ProgressStyle};

/// Writes a line to standard output.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", text.as_ref())?;
    Ok(())
}

/// Writes a value as indented JSON.
pub fn json(value: &impl serde::Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A table with these headings; those that end in `>` are aligned to the right.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.trim_end_matches('>')));
    for (index, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if heading.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// Writes a table.
pub fn show(table: &Table) -> Result<()> {
    line(table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// A progress bar on a terminal, nothing elsewhere.
pub fn progress(length: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .expect("the template is valid");
    ProgressBar::new(length as u64).with_style(style)
}

/// Says on standard error how much of a file has no use, and lists the first of it.
pub fn leftovers(file: &Path, leftovers: &[Leftover]) {
    const SHOWN: usize = 10;
    if leftovers.is_empty() {
        return;
    }
    let (file, count) = (file.display(), leftovers.len());
    eprintln!("warning: {file}: no use for {count} of its modules and tensors");
    for leftover in leftovers.iter().take(SHOWN) {
        eprintln!("  {leftover}");
    }
    if count > SHOWN {
        eprintln!("  ... and {} more; --json lists them all", count - SHOWN);
    }
}

/// An error in one line: what failed and, where the message does not say it itself, why.
pub fn message(error: &Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Whether the reader of standard output has gone.
pub fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}
