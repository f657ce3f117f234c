//! Every adapter of a file in turn: what inspecting and measuring share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use burn::tensor::{DType, Device};
use higanbana_core::{Registry, Tensors};

use super::{ApplyError, Base, Found, Leftover, Leftovers, Model, ModuleReader, notes};
use crate::{AdapterReader, Embedding};

/// How a file is gone through.
#[derive(Debug, Clone, Copy)]
pub struct Survey<'a> {
    /// The adapter file.
    pub path: &'a Path,
    /// The base model, for algorithms whose update depends on its weights.
    pub base: Option<&'a Path>,
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// Where to compute.
    pub device: &'a Device,
    /// What to compute in: F32 or F64.
    pub dtype: DType,
}

/// A module of the file.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// Its name in the file.
    pub module: &'a str,
    /// Its tensors.
    pub tensors: &'a Tensors,
    /// Their element types, joined by `+`.
    pub dtype: &'a str,
}

/// What there is to say of the file as a whole.
#[derive(Debug)]
pub struct Overview {
    /// Size of the file.
    pub bytes: u64,
    /// How it spells its names.
    pub dialect: &'static str,
    /// Number of modules.
    pub modules: usize,
    /// Embeddings that are bundled with it.
    pub embeddings: Vec<Embedding>,
    /// Modules and tensors that are not understood, or do not fit the base.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Survey<'_> {
    /// Shows every adapter to `each`; `progress` is told each module and how many there are.
    ///
    /// # Errors
    /// When a file cannot be read, no module can, or `each` fails. One that contradicts itself or the base
    /// is left over where others do not.
    pub fn run<E: From<ApplyError>>(
        &self,
        progress: impl Fn(&str, usize),
        mut each: impl FnMut(&Surveyed, &Found) -> Result<(), E>,
    ) -> Result<Overview, E> {
        let Self { path, base, registry, device, dtype } = *self;
        let reader = AdapterReader::open(path, registry).map_err(ApplyError::from)?;
        let base = base.map(|base| Base::open(base, device, dtype)).transpose();
        let base = base.map_err(ApplyError::from)?;
        let how = ModuleReader { file: &reader, registry, device, dtype };
        let mut leftovers = Leftovers::of(&reader);
        let modules = reader.modules().count();
        let (mut read, mut broken) = (0, None);
        for module in reader.modules() {
            progress(module, modules);
            let place = base.as_ref().and_then(|base| {
                let target = leftovers.expect(module, &base.names)?;
                Some((base as &dyn Model, target))
            });
            let tensors = reader.read(module).map_err(ApplyError::from)?;
            let found = match how.module(module, &tensors, place, &mut leftovers) {
                Err(error @ ApplyError::Adapter { .. }) => {
                    leftovers.broken(module, &error);
                    broken = broken.or(Some(error));
                    continue;
                }
                found => found?,
            };
            read += 1;
            let Some(found) = found else { continue };
            let surveyed = Surveyed { module, tensors: &tensors, dtype: &dtypes(&reader, module) };
            found.iter().try_for_each(|found| each(&surveyed, found))?;
        }
        if let (0, Some(error)) = (read, broken) {
            return Err(error.into());
        }
        let embeddings = reader.embeddings().map_err(ApplyError::from)?;
        let mut leftovers = leftovers.into_vec();
        leftovers.retain(|it| embeddings.iter().all(|embedding| embedding.key != it.name));
        let of_base = base.iter().flat_map(|base| base.file.notes().iter().cloned());
        Ok(Overview {
            bytes: reader.total_bytes(),
            dialect: reader.dialect().name(),
            modules,
            embeddings,
            leftovers,
            notes: notes(&reader, registry).into_iter().chain(of_base).collect(),
            metadata: reader.metadata().clone(),
        })
    }
}

/// The element types of a module's tensors.
fn dtypes(reader: &AdapterReader, module: &str) -> String {
    let dtypes = reader.tensors(module).filter_map(|(_, info)| Some(info?.dtype.to_string()));
    dtypes.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("+")
}
