//! Tables, JSON and progress.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use higanbana_io::Leftover;
use indicatif::{ProgressBar, ProgressStyle};

/// Writes a line, or several, to standard output. What a command reports, it has done. Names of files
/// may hold control characters, which are none of a terminal's business.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    let text = text.as_ref().replace(|c: char| c.is_control() && c != '\n', " ");
    writeln!(std::io::stdout().lock(), "{text}").context(
        "standard output: the report cannot be written; an output file that it is about is complete",
    )
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

/// A progress bar of `length` steps, on a terminal only.
pub fn progress(length: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .expect("the template is valid");
    ProgressBar::new(length as u64).with_style(style)
}

/// Does work that tells each of its steps and how many there are, with a progress bar on a terminal.
///
/// # Errors
/// Those of the work.
pub fn steps<T>(work: impl FnOnce(&dyn Fn(&str, usize)) -> Result<T>) -> Result<T> {
    let bar = progress(0);
    let done = work(&|step, steps| {
        bar.set_length(steps as u64);
        bar.set_message(step.to_string());
        bar.inc(1);
    });
    bar.finish_and_clear();
    done
}

/// Says on standard error what a user should know of a file, how much of it has no use, and lists the
/// first of that.
///
/// # Errors
/// When something has no use and `strict` is set.
pub fn leftovers(
    file: &Path,
    notes: &[String],
    leftovers: &[Leftover],
    strict: bool,
) -> Result<()> {
    const SHOWN: usize = 10;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    if leftovers.is_empty() {
        return Ok(());
    }
    let (file, count) = (file.display(), leftovers.len());
    eprintln!("warning: {file}: no use for {count} of its modules and tensors");
    // What is left over for one reason is one line.
    let mut alike = Vec::<(&Leftover, usize)>::new();
    for leftover in leftovers {
        match alike.iter_mut().find(|(first, _)| first.reason == leftover.reason) {
            Some((_, more)) => *more += 1,
            None => alike.push((leftover, 0)),
        }
    }
    for (Leftover { name, reason }, more) in alike.iter().take(SHOWN) {
        let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
        eprintln!("  {name}{more}: {reason}");
    }
    let hidden = alike.iter().skip(SHOWN).map(|(_, more)| 1 + more).sum::<usize>();
    if hidden > 0 {
        eprintln!("  ... and {hidden} more");
    }
    if strict {
        bail!("{file}: no use for {count} of its modules and tensors; leave out --strict to go on");
    }
    Ok(())
}

/// `1 module`, `2 modules`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Wrong usage, for which the exit code is 2.
#[derive(Debug)]
pub struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error about the arguments.
pub fn usage(message: impl ToString) -> Error {
    Usage(message.to_string()).into()
}

/// clap's message without the usage that it shows below: `error: what is wrong: which; try --help`.
pub fn one_line(message: &str) -> String {
    let said = message.split("\n\nUsage:").next().unwrap_or_default();
    let said = said.split("\n\nFor more information").next().unwrap_or_default();
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.fold(String::new(), |line, next| match line.chars().last() {
        None => next.into(),
        Some(':') => format!("{line} {next}"),
        Some(_) if next.starts_with('[') => format!("{line} {next}"),
        Some(_) if next.starts_with("tip:") => format!("{line}; {next}"),
        Some(_) => format!("{line}, {next}"),
    });
    format!("{}; try --help", line.replace(char::is_control, " "))
}

/// Refuses an output that is one of the inputs, also under another name, and one that is no name of a
/// file.
///
/// # Errors
/// When it is.
pub fn differs_from_inputs<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    if output == "-" {
        return Err(usage("-: an output is a file, not standard output; name one, such as ./-"));
    }
    let Ok(real) = output.canonicalize() else { return Ok(()) };
    for input in inputs {
        if input.canonicalize().is_ok_and(|input| input == real) {
            let output = output.display();
            return Err(usage(format!("{output}: is an input; name another output")));
        }
    }
    Ok(())
}

/// Refuses to write files of which one, such as a configuration beside another, was read.
///
/// # Errors
/// When one was.
pub fn keeps_inputs(outputs: &[PathBuf], inputs: &[PathBuf]) -> Result<()> {
    let is_input =
        |output: &Path| differs_from_inputs(output, inputs.iter().map(|it| &**it)).is_err();
    match outputs.iter().find(|output| is_input(output)) {
        None => Ok(()),
        Some(input) => {
            let input = input.display();
            Err(usage(format!("{input}: belongs to an input; name an output in another folder")))
        }
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
