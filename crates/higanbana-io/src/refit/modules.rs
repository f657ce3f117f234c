//! An adapter file and what is needed to compute with its modules.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::{Kind, Parts, Registry, Tensors};

use super::RefitError;
use crate::{
    AdapterFile, AdapterReader, FileError,
    apply::{ApplyError, Base, Found, Leftovers, Model, ModuleReader, Resolved, notes, of_weight},
    dialect::Network,
};

/// The modules of an adapter file.
pub(super) struct Modules<'a> {
    pub reader: AdapterReader,
    pub base: Option<Base>,
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
        let reader = AdapterReader::open(path, registry)?;
        let base = base.map(|base| Base::open(base, device, dtype)).transpose()?;
        Ok(Self { reader, base, registry, device, dtype })
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let base = self.base.as_ref().map(|base| base.file.path().to_path_buf());
        self.reader.files().into_iter().chain(base).collect()
    }

    /// What a user should know, one line each.
    pub fn notes(&self) -> Vec<String> {
        let of_base = self.base.iter().flat_map(|base| base.file.notes().iter().cloned());
        notes(&self.reader, self.registry).into_iter().chain(of_base).collect()
    }

    /// The file with other tensors, or under other names.
    ///
    /// # Errors
    /// When what is carried along cannot be read.
    pub fn file(&self, modules: BTreeMap<String, Tensors>) -> Result<AdapterFile, FileError> {
        let (metadata, carried) = (self.reader.metadata().clone(), self.reader.carried()?);
        let file = AdapterFile::new(self.reader.path(), self.reader.dialect(), modules);
        Ok(AdapterFile { metadata, carried, ..file })
    }

    /// What the metadata of a file of these modules are to say.
    pub fn network(&self, modules: &BTreeMap<String, Tensors>) -> Network {
        let network = Network::of(self.registry, modules.values());
        match &self.base {
            None => network,
            Some(base) => {
                network.on(&base.names, |key| base.file.info(key).map(|info| info.shape.as_slice()))
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
    ) -> Result<Vec<(Found<'_>, Resolved)>, RefitError> {
        let path = self.reader.path();
        let place = match &self.base {
            None => None,
            Some(base) => {
                let target = base.names.expect(module).map_err(|error| {
                    let (path, module) = (path.into(), module.into());
                    FileError::Name { path, module, error }
                })?;
                Some((base as &dyn Model, target))
            }
        };
        let Some(found) = self.how().module(module, tensors, place, leftovers)? else {
            return Err(RefitError::Unknown {
                path: path.into(),
                module: module.into(),
                keys: tensors.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            });
        };
        let mut whole = Vec::new();
        for mut found in found {
            match found.resolved.take() {
                Some(resolved) => whole.push((found, resolved)),
                None => return Err(self.needs_base(module, &found)),
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
        found: Found<'k>,
        resolved: Resolved,
    ) -> Result<(Found<'k>, Resolved), RefitError> {
        let is_same = |kind: &&Kind| found.tensors.keys().all(|key| kind.keys().contains(&&**key));
        let Some(kind) = self.named().filter(is_same) else { return Ok((found, resolved)) };
        let parts = Parts::new(&resolved.site.path, &found.tensors, self.device, self.dtype)
            .with_arguments(self.reader.arguments())
            .with_base(&resolved.w0);
        let adapter = kind.read(&resolved.site, &parts);
        let adapter = adapter.map_err(ApplyError::adapter(self.reader.path()))?;
        Ok((Found { kind, ..found }, Resolved { adapter, ..resolved }))
    }

    /// The algorithm that the metadata name.
    pub fn named(&self) -> Option<&Kind> {
        self.registry.get(&self.reader.arguments().get("algo")?.to_lowercase())
    }

    fn how(&self) -> ModuleReader<'_> {
        let Self { reader, registry, device, dtype, .. } = self;
        ModuleReader { file: reader, registry, device, dtype: *dtype }
    }

    fn needs_base(&self, module: &str, found: &Found) -> RefitError {
        let (path, module) = (self.reader.path().into(), module.into());
        if found.kind.needs_base() || found.outline().whole_shape().is_some() {
            RefitError::NeedsBase { path, module, algorithm: found.kind.name().into() }
        } else {
            RefitError::NeedsShape { path, module }
        }
    }
}
