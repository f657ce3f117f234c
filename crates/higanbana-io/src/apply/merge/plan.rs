//! Matching the modules of adapter files with a base.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{DType, Device};
use higanbana_core::Registry;

use super::{Merge, Patch, Planned, Source};
use crate::{
    AdapterReader, Checkpoint, Names,
    apply::{ApplyError, Leftover, Leftovers, Parameter, expect_float, notes, stems},
};

impl<'a> Merge<'a> {
    /// Opens the files and matches their modules with the base; `dtype` (F32 or F64) is what will be
    /// computed in. Nothing of the base but its header is read.
    ///
    /// # Errors
    /// When a file cannot be read, a module contradicts itself or the base, two modules of a file
    /// adapt one tensor, or no module of a file fits.
    pub fn plan(
        base: &Path,
        sources: &[Source],
        registry: &'a Registry,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ApplyError> {
        let base = Checkpoint::open(base)?;
        let names = Names::new(base.names());
        let stems = stems(registry);
        let mut merge = Self {
            registry,
            device: device.clone(),
            dtype,
            base,
            readers: Vec::new(),
            planned: Vec::new(),
            patches: BTreeMap::new(),
        };
        for source in sources {
            let reader = AdapterReader::open(&source.path, &stems)?;
            let planned = merge.add(source, &reader, &names)?;
            merge.planned.push(planned);
            merge.readers.push(reader);
        }
        Ok(merge)
    }

    /// Finds the place of every module of the next file.
    fn add(
        &mut self,
        source: &Source,
        reader: &AdapterReader,
        names: &Names,
    ) -> Result<Planned, ApplyError> {
        let mut leftovers = Leftovers::of(reader);
        let mut modules = 0;
        let mut adapted = BTreeMap::new();
        for module in reader.modules() {
            let Some(target) = leftovers.expect(module, names) else { continue };
            let tensors = reader.read(module)?;
            // What follows from the base weight is checked when that is read.
            let parameters = Parameter::of(&self.base, target)?;
            let holding =
                self.modules(reader).at_base(module, &tensors, parameters, |_| Ok(None))?;
            if holding.held.is_empty() {
                leftovers.unknown(module, &tensors, &format!("{:?}", target.weight));
                continue;
            }
            leftovers.unused(module, &holding.unused);
            let parameters: Vec<Parameter> =
                holding.held.into_iter().filter_map(|held| held.parameter).collect();
            modules += 1;
            for parameter in parameters {
                expect_float(&self.base, &parameter.key)?;
                let place = (parameter.key.clone(), parameter.rows.as_ref().map(|rows| rows.start));
                if let Some(first) = adapted.insert(place, module) {
                    let (first, second) = (first.into(), module.into());
                    let path = reader.path().into();
                    return Err(ApplyError::Twice { path, key: parameter.key, first, second });
                }
                let patches = self.patches.entry(parameter.key.clone()).or_default();
                patches.push(Patch { file: self.readers.len(), module: module.into(), parameter });
            }
        }
        let leftovers = leftovers.into_vec();
        if modules == 0 {
            return Err(ApplyError::OtherModel {
                path: reader.path().into(),
                base: self.base.path().display().to_string(),
                modules: reader.modules().count(),
                example: leftovers.first().map(Leftover::to_string).unwrap_or_default(),
            });
        }
        Ok(Planned {
            source: source.clone(),
            dialect: reader.dialect(),
            modules,
            parameters: adapted.len(),
            leftovers,
            notes: notes(reader, self.registry),
        })
    }
}
