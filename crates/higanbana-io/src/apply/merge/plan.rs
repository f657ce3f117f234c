//! Matching the modules of adapter files with a base.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{Registry, Tensors};

use super::{Fitting, Merge, Patch, Planned, Source};
use crate::{
    AdapterReader, Checkpoint, Names, Target,
    apply::{ApplyError, Model, Parameter, expect_float},
};

impl<'a> Merge<'a> {
    /// [`Self::plan_with`] everything where it fits.
    ///
    /// # Errors
    /// As there.
    pub fn plan(
        base: &Path,
        sources: &[Source],
        registry: &'a Registry,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ApplyError> {
        Self::plan_with(base, sources, registry, device, dtype, &Fitting::default())
    }

    /// Opens the files and matches their modules with the base; `dtype` (F32 or F64) is what will be
    /// computed in, `fitting` what is done where they do not fit. Nothing of the base but its header is
    /// read.
    ///
    /// # Errors
    /// When a file cannot be read, a module contradicts itself or the base, two modules of a file
    /// adapt one tensor, block weights leave out the block of one, no module of a file fits, or a module that
    /// is to be left out is in none.
    pub fn plan_with(
        base: &Path,
        sources: &[Source],
        registry: &'a Registry,
        device: &Device,
        dtype: DType,
        fitting: &Fitting,
    ) -> Result<Self, ApplyError> {
        let base = Checkpoint::open(base)?;
        let names = Names::new(base.names());
        let mut merge = Self {
            registry,
            device: device.clone(),
            dtype,
            base,
            readers: Vec::new(),
            planned: Vec::new(),
            patches: BTreeMap::new(),
            scales: BTreeMap::new(),
        };
        let open = |source: &Source| AdapterReader::open(&source.path, registry);
        let mut readers = sources.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        fitting.leave_out(&mut readers)?;
        for (source, reader) in sources.iter().zip(readers) {
            let planned = merge.add(source, &reader, &names, fitting)?;
            merge.planned.push(planned);
            merge.readers.push(reader);
        }
        for weight in merge.patches.keys() {
            let scale = merge.base.scale_of(weight)?;
            merge.scales.extend(scale.map(|scale| (scale.to_string(), weight.clone())));
        }
        Ok(merge)
    }

    /// Finds the place of every module of the next file.
    fn add(
        &mut self,
        source: &Source,
        reader: &AdapterReader,
        names: &Names,
        fitting: &Fitting,
    ) -> Result<Planned, ApplyError> {
        let mut patches = Vec::new();
        let header = Header { base: &self.base, names, registry: self.registry, fitting };
        let placed = self.modules(reader).onto(&header, |module, target, found| {
            let parameter = found.parameter.expect("the base has it");
            expect_float(&self.base, &parameter.key)?;
            let strength = source.strength.at(target).map_err(|reason| ApplyError::Strength {
                path: source.path.clone(),
                module: module.into(),
                reason,
            })?;
            let (file, module) = (self.readers.len(), module.into());
            patches.push(Patch { file, module, parameter, strength });
            Ok(())
        });
        let placed = placed.map_err(Fitting::advise)?;
        for patch in patches {
            self.patches.entry(patch.parameter.key.clone()).or_default().push(patch);
        }
        Ok(Planned { source: source.clone(), dialect: reader.dialect(), placed })
    }
}

/// The base before any of its weights is read: what follows from one is checked when it is.
struct Header<'a> {
    base: &'a Checkpoint,
    names: &'a Names,
    registry: &'a Registry,
    fitting: &'a Fitting,
}

impl Model for Header<'_> {
    fn title(&self) -> String {
        self.base.path().display().to_string()
    }

    fn names(&self) -> &Names {
        self.names
    }

    fn parameters(&self, target: &Target) -> Result<Vec<Parameter>, ApplyError> {
        Parameter::of(self.base, target)
    }

    fn fitted(&self, parameter: Parameter, tensors: &Tensors) -> Parameter {
        self.fitting.fitted(parameter, tensors, self.registry)
    }

    fn value(
        &self,
        _target: &Target,
        _parameter: &Parameter,
    ) -> Result<Option<Tensor<2>>, ApplyError> {
        Ok(None)
    }
}
