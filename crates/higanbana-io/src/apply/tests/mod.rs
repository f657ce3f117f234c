mod formats;
mod hostile;
mod inspect;
mod lycoris;
mod merge;
mod names;
mod trainers;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_adapters::registry;

use super::*;
use crate::{
    Checkpoint,
    testing::{Files, relative, values},
    writer::write_tensors,
};

impl Files {
    /// Merges in f32 and gives what was planned and the result.
    fn merge(
        &self,
        base: &Path,
        sources: &[(&Path, f64)],
        dtype: DType,
    ) -> Result<(Vec<Leftover>, Checkpoint), ApplyError> {
        let sources = sources
            .iter()
            .map(|(path, mu)| Source { path: (*path).into(), strength: (*mu).into() });
        let sources: Vec<Source> = sources.collect();
        let registry = registry();
        let merge = Merge::plan(base, &sources, &registry, &Device::flex(), dtype)?;
        let out = self.path("merged");
        merge.write(&out, true, |_| ())?;
        let left =
            merge.planned().iter().flat_map(|planned| planned.placed.leftovers.clone()).collect();
        Ok((left, Checkpoint::open(out)?))
    }
}
