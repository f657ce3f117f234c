//! The state between two steps, in one file.
//!
//! Nothing else is needed to go on: what a step draws follows from its number ([`crate::random`]). The file
//! is written beside its place, synchronised and renamed, so that whenever the process or the machine stops
//! there is a whole one, the last or the one before.
//!
//! ```text
//! weights.<path>        trained tensors, f32
//! average.<path>        their average, where one is kept
//! optimizer.<group>     what Burn's optimizer carries, as bytes
//! numbers.<group>       what the optimizer shares between the tensors of a group
//! ```
//!
//! A hash of all that is in it tells whether a file is as it was written: whoever trains on from a tensor of
//! zeros would not see it.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;
use higanbana_io::{
    Checkpoint as File, FileError,
    ledger::{Ledger, LedgerError},
    writer::stage_tensors,
};

use crate::{
    TrainError,
    model::GroupState,
    seal::{self, HASH},
    weights::Weights,
};

/// What the names of checkpoints in the folder of a run begin with.
pub const NAMES: &str = "checkpoints/step-";

/// The state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Number of steps done.
    pub step: usize,
    /// Number of batches seen; checkpoints of earlier versions do not say.
    pub batches: Option<usize>,
    /// Lines of metrics until then.
    pub lines: usize,
    /// What is trained on: [`Feed::identity`](crate::feed::Feed::identity).
    pub images: String,
    /// The trained tensors.
    pub weights: Weights,
    /// Their average.
    pub average: Option<Weights>,
    /// What the optimizer carries.
    pub optimizer: Vec<GroupState>,
}

impl Checkpoint {
    /// Writes it into the folder of a run and removes all but the last `keep` that the run wrote there.
    ///
    /// # Errors
    /// When it cannot be written; the ones before stay.
    pub fn save(&self, files: &mut Ledger, keep: usize) -> Result<(), LedgerError> {
        let mut tensors = BTreeMap::new();
        let mut put = |kind: &str, weights: &Weights| {
            tensors.extend(weights.iter().map(|(k, v)| (format!("{kind}.{k}"), v.clone())));
        };
        put("weights", &self.weights);
        if let Some(average) = &self.average {
            put("average", average);
        }
        for (group, state) in self.optimizer.iter().enumerate() {
            let bytes = TensorData::new(state.bytes.clone(), [state.bytes.len()]);
            tensors.insert(format!("optimizer.{group}"), bytes);
            let numbers = TensorData::new(state.numbers.clone(), [state.numbers.len()]);
            tensors.insert(format!("numbers.{group}"), numbers);
        }
        let [step, lines] = [self.step, self.lines].map(|number| number.to_string());
        let about = [("step", step), ("lines", lines), ("images", self.images.clone())];
        let mut about = BTreeMap::from(about.map(|(name, value)| (name.to_string(), value)));
        about.extend(self.batches.map(|batches| ("batches".to_string(), batches.to_string())));
        about.insert(HASH.into(), seal::hash(&about, &tensors));
        let name = format!("{NAMES}{:08}.safetensors", self.step);
        files.write(&name, |path, replaces| -> Result<_, LedgerError> {
            Ok(stage_tensors(path, &tensors, &about, replaces)?)
        })?;
        let saved = files.files(NAMES);
        let older = &saved[..saved.len().saturating_sub(keep.max(1))];
        // What cannot be removed does no harm.
        older.iter().for_each(|name| drop(files.remove(name)));
        Ok(())
    }

    /// The last one of a run that is whole: one that was cut off is passed over, as is one that cannot be
    /// read.
    ///
    /// # Errors
    /// When there are some, and none can be read; when the one to go on from is whole and not as it was
    /// written.
    pub fn last(files: &Ledger) -> Result<Option<Self>, TrainError> {
        let mut first = None;
        for name in files.files(NAMES).iter().rev() {
            match Self::read(&files.folder().join(name)) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(TrainError::Changed { path }) => return Err(TrainError::Changed { path }),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first.map_or(Ok(None), Err)
    }

    fn read(path: &Path) -> Result<Self, TrainError> {
        let wrong =
            |reason: &str| TrainError::Checkpoint { path: path.into(), reason: reason.into() };
        let file = File::open(path)?;
        let number = |name: &str| file.metadata().get(name)?.parse::<usize>().ok();
        let about = (number("step"), number("lines"), file.metadata().get("images").cloned());
        let (Some(step), Some(lines), Some(images)) = about else {
            return Err(wrong("is no checkpoint"));
        };
        let batches = number("batches");
        let read = |name: &String| Ok((name.clone(), file.read(name)?));
        let tensors =
            file.names().iter().map(read).collect::<Result<BTreeMap<_, _>, FileError>>()?;
        if seal::is_broken(file.metadata(), &tensors) {
            return Err(TrainError::Changed { path: path.into() });
        }
        let mut weights = Weights::new();
        let mut average = Weights::new();
        let mut optimizer = BTreeMap::<usize, GroupState>::new();
        for (name, data) in tensors {
            let (kind, rest) = name.split_once('.').ok_or_else(|| wrong("is no checkpoint"))?;
            match kind {
                "weights" => drop(weights.insert(rest.into(), data)),
                "average" => drop(average.insert(rest.into(), data)),
                kind => {
                    let group = rest.parse().map_err(|_| wrong("is no checkpoint"))?;
                    let empty = GroupState { bytes: Vec::new(), numbers: Vec::new() };
                    let state = optimizer.entry(group).or_insert(empty);
                    match kind {
                        "optimizer" => state.bytes = data.as_bytes().to_vec(),
                        _ => state.numbers = data.iter().collect(),
                    }
                }
            }
        }
        let average = (!average.is_empty()).then_some(average);
        let optimizer = optimizer.into_values().collect();
        Ok(Self { step, batches, lines, images, weights, average, optimizer })
    }
}

#[cfg(test)]
mod tests {
    use higanbana_io::writer::write_tensors;
    use std::fs;

    use super::*;

    fn checkpoint(step: usize) -> Checkpoint {
        let weights = |x: f32| Weights::from([("a.b".to_string(), TensorData::from([[x, 2.0]]))]);
        let state = GroupState { bytes: vec![1, 2, 3], numbers: vec![0.1, -2.0] };
        Checkpoint {
            step,
            batches: Some(2 * step),
            lines: 3,
            images: "2a".into(),
            weights: weights(1.5),
            average: Some(weights(0.5)),
            optimizer: vec![state, GroupState { bytes: vec![], numbers: vec![] }],
        }
    }

    #[test]
    fn the_last_whole_one_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Ledger::claim(folder.path()).unwrap();
        assert_eq!(Checkpoint::last(&files).unwrap(), None);
        for step in [5, 20, 100, 100] {
            checkpoint(step).save(&mut files, 2).unwrap();
        }
        assert_eq!(files.files("").len(), 2);
        assert_eq!(Checkpoint::last(&files).unwrap(), Some(checkpoint(100)));

        // Damaged as by a failing disk, it is passed over.
        let path = |name: &str| folder.path().join("checkpoints").join(name);
        let last = path("step-00000100.safetensors");
        let bytes = fs::read(&last).unwrap();
        fs::write(&last, &bytes[..bytes.len() - 7]).unwrap();
        assert_eq!(Checkpoint::last(&files).unwrap(), Some(checkpoint(20)));
        fs::write(path("step-00000020.safetensors"), b"").unwrap();
        let error = Checkpoint::last(&files).unwrap_err().to_string();
        assert!(error.contains("step-00000100.safetensors"), "{error}");
    }

    /// Changes a saved one and writes it as a whole file again.
    fn changed(change: impl FnOnce(&mut BTreeMap<String, String>, &mut Weights)) -> TrainError {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Ledger::claim(folder.path()).unwrap();
        for step in [5, 20] {
            checkpoint(step).save(&mut files, 2).unwrap();
        }
        let last = folder.path().join(format!("{NAMES}00000020.safetensors"));
        let file = File::open(&last).unwrap();
        let tensors = file.names().iter().map(|name| (name.clone(), file.read(name).unwrap()));
        let (mut about, mut tensors) = (file.metadata().clone(), tensors.collect());
        change(&mut about, &mut tensors);
        write_tensors(&last, &tensors, &about, true).unwrap();
        Checkpoint::last(&files).unwrap_err()
    }

    #[test]
    fn one_that_was_changed_is_not_gone_on_from() {
        for name in ["weights.a.b", "average.a.b", "optimizer.0", "numbers.0"] {
            let error = changed(|_, tensors| {
                let data = tensors.get_mut(name).unwrap();
                let zeros = vec![0u8; data.as_bytes().len()];
                *data = TensorData::from_bytes_vec(zeros, data.shape().clone(), data.dtype());
            });
            assert!(matches!(error, TrainError::Changed { .. }), "{name}: {error}");
        }
        for (name, value) in [("step", "99999"), ("lines", "0"), ("images", "2b")] {
            let error = changed(|about, _| drop(about.insert(name.into(), value.into())));
            let error = error.to_string();
            assert!(
                error.contains("step-00000020.safetensors: is not as it was written"),
                "{error}"
            );
        }
        let error = changed(|_, tensors| {
            let moved = tensors.remove("weights.a.b").unwrap();
            tensors.insert("weights.a.c".into(), moved);
        });
        assert!(matches!(error, TrainError::Changed { .. }), "{error}");
    }

    #[test]
    fn files_of_others_are_neither_read_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Ledger::claim(folder.path()).unwrap();
        checkpoint(5).save(&mut files, 1).unwrap();
        let others = ["sd15.safetensors", "step-00000001.safetensors", "step-00000009.safetensors"];
        let path = |name: &str| folder.path().join("checkpoints").join(name);
        others.iter().for_each(|name| fs::write(path(name), "mine").unwrap());
        for step in [6, 7] {
            checkpoint(step).save(&mut files, 1).unwrap();
        }
        assert_eq!(Checkpoint::last(&files).unwrap(), Some(checkpoint(7)));
        assert!(matches!(checkpoint(9).save(&mut files, 1), Err(LedgerError::Foreign { .. })));
        assert!(others.iter().all(|name| fs::read(path(name)).unwrap() == b"mine"));
    }
}
