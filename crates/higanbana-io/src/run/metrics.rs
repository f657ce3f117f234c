//! `metrics.jsonl`: the lines of a run.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::PathBuf,
};

use serde::Serialize;
use serde_json::Value;

use super::{METRICS, RunError};
use crate::{FileError, ledger::Ledger};

/// The file.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    pub fn open(ledger: &mut Ledger) -> Result<Self, RunError> {
        Ok(Self { path: ledger.folder().join(METRICS), file: ledger.open(METRICS)? })
    }

    /// Appends in one write: a kill leaves whole lines and, at worst, a part of one at the end.
    pub fn append(&mut self, ledger: &mut Ledger, line: &impl Serialize) -> Result<(), RunError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        let line = serde_json::to_string(line).map_err(|error| failed(error.into()))? + "\n";
        if self.file.metadata().map_err(failed)?.len() == 0 {
            ledger.begins(METRICS, &line)?;
        }
        Ok(self.file.write_all(line.as_bytes()).map_err(failed)?)
    }

    /// All of it is on the disk, and nothing is appended any more.
    pub fn end(&self, ledger: &mut Ledger) -> Result<(), RunError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        self.file.sync_data().map_err(failed)?;
        Ok(ledger.ends(METRICS)?)
    }

    pub fn lines(&self) -> Result<Vec<Value>, RunError> {
        let bytes = self.read()?;
        let line = |(index, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| {
                let reason = format!("line {} is no JSON ({error})", index + 1);
                FileError::Config { path: self.path.clone(), reason }.into()
            })
        };
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate()
            .map(line)
            .collect()
    }

    /// Drops what a kill left of a line.
    pub fn cut(&mut self) -> Result<(), RunError> {
        self.rewind(usize::MAX)
    }

    /// Keeps the first whole lines.
    pub fn rewind(&mut self, lines: usize) -> Result<(), RunError> {
        let bytes = if lines == 0 { Vec::new() } else { self.read()? };
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let kept = ends.take(lines).last().map_or(0, |(index, _)| index + 1);
        let cut = self.file.set_len(kept as u64);
        Ok(cut.map_err(|source| FileError::Write { path: self.path.clone(), source })?)
    }

    fn read(&self) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.rewind()
            .and_then(|()| file.read_to_end(&mut bytes))
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}
