//! An adapter file and what is needed to compute with its modules.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::{Kind, Parts, Registry, Tensors};

use super::RefitError;
use crate::{
    AdapterFile, AdapterReader, Checkpoint, FileError, Names,
    apply::{
        Acting, ApplyError, Held, Holding, Leftovers, ModuleReader, Parameter, notes, of_weight,
        stems,
    },
    dialect::{Network, named_algorithm},
};

/// The modules of an adapter file.
pub(super) struct Modules<'a> {
    pub reader: AdapterReader,
    pub base: Option<(Checkpoint, Names)>,
    registry: &'a Registry,
    device: &'a Device,
    dtype: DType,
}

impl<'a> Modules<'a> {
    /// Opens a file, and its base if there is one.
    pub fn open(
        path: &Path,
        base: Option<&Path>,
        registry: &'a Registry,
        device: &'a Device,
        dtype: DType,
    ) -> Result<Self, FileError> {
        let reader = AdapterReader::open(path, &stems(registry))?;
        let base = base.map(Checkpoint::open).transpose()?.map(|base| {
            let names = Names::new(base.names());
            (base, names)
        });
        Ok(Self { reader, base, registry, device, dtype })
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let base = self.base.as_ref().map(|(base, _)| base.path().to_path_buf());
        self.reader.files().into_iter().chain(base).collect()
    }

    /// What a user should know, one line each.
    pub fn notes(&self) -> Vec<String> {
        notes(&self.reader, self.registry)
    }

    /// The file, without any module yet.
    pub fn file(&self) -> AdapterFile {
        AdapterFile {
            path: self.reader.path().into(),
            dialect: self.reader.dialect(),
            modules: BTreeMap::new(),
            metadata: self.reader.metadata().clone(),
            unused: Vec::new(),
        }
    }

    /// What the metadata of a file of these modules are to say.
    pub fn network(&self, modules: &BTreeMap<String, Tensors>) -> Network {
        let network = Network::of(self.registry, modules.values());
        match &self.base {
            None => network,
            Some((base, names)) => {
                network.on(names, |key| base.info(key).map(|info| info.shape.as_slice()))
            }
        }
    }

    /// Whether the adapter of a layer's weight in these tensors has a rank.
    pub fn has_rank(&self, tensors: &Tensors) -> bool {
        let kind = of_weight(self.registry, tensors);
        kind.is_some_and(|(at, kind)| kind.outline(at, tensors).rank.is_some())
    }

    /// The adapters of a module, each for a parameter of its own; tensors that none of them uses are
    /// left over.
    ///
    /// # Errors
    /// When the base has no such module or is needed and not there, no algorithm has the tensors, or
    /// they contradict each other.
    pub fn read(
        &self,
        module: &str,
        tensors: &Tensors,
        leftovers: &mut Leftovers,
    ) -> Result<Vec<(Held<'_>, Acting)>, RefitError> {
        let holding = self.holding(module, tensors)?;
        if holding.held.is_empty() {
            return Err(RefitError::Unknown {
                path: self.reader.path().into(),
                module: module.into(),
                keys: tensors.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            });
        }
        leftovers.unused(module, &holding.unused);
        let mut whole = Vec::new();
        for mut held in holding.held {
            match held.acting.take() {
                Some(acting) => whole.push((held, acting)),
                None => return Err(self.needs_base(module, &held)),
            }
        }
        Ok(whole)
    }

    /// An adapter in the algorithm that the metadata name, where the files of that are the same as
    /// those of the one that its tensors tell.
    ///
    /// # Errors
    /// When it cannot be read so.
    pub fn as_named<'k>(
        &'k self,
        held: Held<'k>,
        acting: Acting,
    ) -> Result<(Held<'k>, Acting), RefitError> {
        let is_same = |kind: &&Kind| held.tensors.keys().all(|key| kind.keys().contains(&&**key));
        let Some(kind) = self.named().filter(is_same) else { return Ok((held, acting)) };
        let parts = Parts::new(&acting.site.path, &held.tensors, self.device, self.dtype)
            .with_base(&acting.w0);
        let adapter = kind.read(&acting.site, &parts);
        let adapter = adapter.map_err(ApplyError::adapter(self.reader.path()))?;
        Ok((Held { kind, ..held }, Acting { adapter, ..acting }))
    }

    /// The algorithm that the metadata name.
    pub fn named(&self) -> Option<&Kind> {
        self.registry.get(&named_algorithm(self.reader.metadata())?)
    }

    fn holding(&self, module: &str, tensors: &Tensors) -> Result<Holding<'_>, RefitError> {
        let Self { reader, registry, device, dtype, .. } = self;
        let how = ModuleReader { path: reader.path(), registry, device, dtype: *dtype };
        Ok(match &self.base {
            None => how.alone(module, tensors)?,
            Some((base, names)) => {
                let parameters = Parameter::of(
                    base,
                    names.expect(module).map_err(|error| error.of(reader.path()))?,
                )?;
                let value = |it: &Parameter| it.read(base, device, *dtype).map(Some);
                how.at_base(module, tensors, parameters, value)?
            }
        })
    }

    fn needs_base(&self, module: &str, held: &Held) -> RefitError {
        let (path, module) = (self.reader.path().into(), module.into());
        if held.kind.needs_base() || held.outline().whole_shape().is_some() {
            RefitError::NeedsBase { path, module, algorithm: held.kind.name().into() }
        } else {
            RefitError::NeedsShape { path, module }
        }
    }
}
