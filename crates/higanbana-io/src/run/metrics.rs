//! `metrics.jsonl`: the lines of a run.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

use super::RunError;
use crate::FileError;

/// The file.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(|source| FileError::Write { path: path.into(), source })?;
        Ok(Self { path: path.into(), file })
    }

    /// Appends in one write: a kill leaves whole lines and, at worst, a part of one at the end.
    pub fn append(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        Ok(self.file.write_all(&bytes).map_err(failed)?)
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
