//! A run of `higanbana train` that is done, as its folder has it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use higanbana_io::run::{State, identity};
use higanbana_train::{Outcome, Recipe};
use serde::Deserialize;
use serde_json::Value;

use super::PageError;

/// What the page shows of a run.
#[derive(Debug)]
pub(super) struct TrainingRun {
    pub name: String,
    pub recipe: Recipe,
    pub outcome: Outcome,
    /// Steps with their losses.
    pub losses: Vec<[f64; 2]>,
    /// The first and the last row of the contact sheet, as PNGs.
    pub rows: Option<[Vec<u8>; 2]>,
    /// Size of the adapter file, or of all of the model's.
    pub bytes: u64,
}

impl TrainingRun {
    pub fn read(folder: &Path) -> Result<Self, PageError> {
        let wrong = |path: &Path, reason: String| PageError::Run { path: path.into(), reason };
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .map_err(|error| wrong(&path, format!("cannot be read ({error})")))
        };
        let no_run = |error: toml::de::Error| {
            wrong(folder, format!("holds no training ({})", error.message()))
        };
        let table: toml::Table = toml::from_str(&text("run.toml")?).map_err(no_run)?;
        let state = State::of(folder, &identity(&table));
        let Ok(State::Done(result)) = state else {
            return Err(wrong(folder, "holds no run that is done".into()));
        };
        let recipe: Recipe = table.try_into().map_err(no_run)?;
        let outcome = Outcome::deserialize(&result)
            .map_err(|error| wrong(folder, format!("has another result ({error})")))?;
        let metrics = text("metrics.jsonl")?;
        let point = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some([line["step"].as_f64()?, line["loss"].as_f64()?])
        };
        let file = folder.join(&outcome.file);
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            recipe,
            losses: metrics.lines().filter_map(point).collect(),
            rows: rows(&folder.join("samples"))
                .map_err(|error| wrong(folder, error.to_string()))?,
            bytes: bytes(&file).map_err(|error| wrong(&file, error.to_string()))?,
            outcome,
        })
    }

    /// Minutes that the steps took.
    pub fn minutes(&self) -> Option<f64> {
        Some(self.outcome.step_seconds? * self.outcome.steps as f64 / 60.0)
    }

    /// What was trained.
    pub fn algorithm(&self) -> &str {
        let whole = self.recipe.trains_model();
        let others = if whole { "the model itself" } else { "textual inversion" };
        self.recipe.adapter.as_ref().map_or(others, |adapter| &adapter.algorithm)
    }

    /// The algorithm's options, and where it was placed.
    pub fn options(&self) -> String {
        let Some(adapter) = &self.recipe.adapter else { return String::new() };
        let options = adapter.options.iter().map(|(name, value)| format!("{name} {value}"));
        options.chain([format!("preset {}", adapter.preset)]).collect::<Vec<_>>().join(", ")
    }
}

/// The first and the last row of a folder, by their names; others may lie there, too.
fn rows(folder: &Path) -> io::Result<Option<[Vec<u8>; 2]>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    let is_row = |name: &str| name.starts_with("step-") && name.ends_with(".png");
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_row));
    paths.sort();
    match &paths[..] {
        [first, .., last] => Ok(Some([fs::read(first)?, fs::read(last)?])),
        _ => Ok(None),
    }
}

/// Size of a file, or of all files of a folder.
fn bytes(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}
