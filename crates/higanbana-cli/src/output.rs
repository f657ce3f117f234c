//! What the commands say: reports, notes and errors.

mod leftovers;
mod progress;
mod table;
mod tensors;
mod terminal;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Error, Result};
use higanbana_io::{dialect::config_path, writer::Place};
use serde::Serialize;

pub use leftovers::{Completeness, leftovers};
pub use progress::{Progress, progress, steps};
pub use table::{show, table};
pub use tensors::tensors;
pub use terminal::{Stderr, json_text, line, lines, say};

/// Writes a value as indented JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    json_text(serde_json::to_string_pretty(value)?)
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
    format!("{line}; try --help")
}

/// Refuses an output that is one of the inputs, also under another name, that is a file of an input folder or
/// PEFT's configuration beside an input, and one that is no name of a file.
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
    let is_input = |input: &Path| match Place::of(output, input) {
        Place::Same => true,
        _ if Place::of(output, &config_path(input)) == Place::Same && output.exists() => true,
        Place::Within => output.exists(),
        Place::Around | Place::Apart => false,
    };
    match inputs.into_iter().any(is_input) {
        true => Err(usage(format!("{}: is an input; name another output", output.display()))),
        false => Ok(()),
    }
}

/// Refuses a folder or file that a command fills or replaces as it needs, where that is an input, holds one
/// or lies in one.
///
/// # Errors
/// When it does.
pub fn keeps_apart(target: &Path, input: &Path) -> Result<()> {
    let how = match Place::of(target, input) {
        Place::Apart => return Ok(()),
        Place::Same => "is an input".to_string(),
        Place::Within => format!("lies in {}, an input", input.display()),
        Place::Around => format!("holds {}, an input", input.display()),
    };
    Err(usage(format!("{}: {how}; name another output", target.display())))
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
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Whether the reader of standard output has gone.
pub fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}
