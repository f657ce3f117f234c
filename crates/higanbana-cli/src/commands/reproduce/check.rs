//! A chapter again, held against what is committed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use higanbana_lab::{
    compare::{Difference, differences},
    numbers::Numbers,
};
use serde_json::{Value, json};

use super::{Arguments, Work, last};
use crate::output;

/// What a chapter gives here and now.
pub(super) struct Again {
    kinds: &'static [Numbers],
    results: Value,
    failures: Vec<String>,
}

impl Again {
    /// From results as they would be written, and what failed.
    pub(super) fn new(
        kinds: &'static [Numbers],
        results: &str,
        failures: Vec<String>,
    ) -> Result<Self> {
        Ok(Self { kinds, results: serde_json::from_str(results)?, failures })
    }
}

/// Measures chapters and names each place where they differ from what is committed in `experiments`. What is
/// committed is read first: a folder of something else is told before hours are spent.
pub(super) fn run(arguments: &Arguments, chapters: &[Work], experiments: &Path) -> Result<()> {
    let read = |chapter: &Work| committed(experiments.join(chapter.committed));
    let committed: Vec<(PathBuf, Value)> = chapters.iter().map(read).collect::<Result<_>>()?;
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for (chapter, (file, committed)) in chapters.iter().zip(&committed) {
        match (chapter.again)(arguments) {
            Ok(again) => {
                let differences = differences(again.kinds, committed, &again.results);
                failed.extend(tell(arguments, file, &differences, &again.failures).err());
                found.push(json!({ "file": file, "differences": differences }));
            }
            Err(error) => failed.push(error),
        }
    }
    if arguments.json {
        output::json(&found)?;
    }
    last(failed)
}

fn committed(file: PathBuf) -> Result<(PathBuf, Value)> {
    let text = fs::read_to_string(&file).with_context(|| {
        format!("{}: cannot be read; name the folder of experiments as --check=DIR", file.display())
    })?;
    let results = serde_json::from_str(&text)
        .with_context(|| format!("{}: holds no results", file.display()))?;
    Ok((file, results))
}

fn tell(
    arguments: &Arguments,
    file: &Path,
    differences: &[Difference],
    failures: &[String],
) -> Result<()> {
    failures.iter().for_each(output::say);
    let file = file.display();
    if !arguments.json {
        differences.iter().try_for_each(|it| output::line(format!("{file}: {it}")))?;
    }
    match (differences.len(), failures.len()) {
        (0, 0) if arguments.json => Ok(()),
        (0, 0) => output::line(format!("{file}: found again")),
        (differences, 0) => bail!("{file}: differs in {}", output::count(differences, "place")),
        (_, failures) => bail!("{file}: {} failed", output::count(failures, "run")),
    }
}
