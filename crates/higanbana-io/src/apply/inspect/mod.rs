//! What is in a file.

mod checkpoint;
mod row;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use serde::Serialize;

pub use checkpoint::{Contents, Count};
pub use row::AdapterRow;

use super::{ApplyError, Leftover, Leftovers, ModuleReader, Parameter, notes, stems};
use crate::{AdapterReader, Checkpoint, FileError, Names};

/// What a file is. As JSON: the fields of the variant, and `kind`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// An adapter.
    Adapter(Box<Adapters>),
    /// Tensors of something else, such as a whole model.
    Checkpoint(Box<Contents>),
}

/// The adapters of a file.
#[derive(Debug, Serialize)]
pub struct Adapters {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How it spells its names: `lycoris`, `kohya`, `diffusers` or `peft`.
    pub dialect: &'static str,
    /// One for each parameter that is adapted.
    pub adapters: Vec<AdapterRow>,
    /// Number of modules.
    pub modules: usize,
    /// Trained values of all.
    pub parameters: usize,
    /// Frobenius norm of all updates together; none if there is none, or one could not be computed.
    pub norm: Option<f64>,
    /// Modules and tensors that are not understood, or do not fit the base.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Says what is in a file; with `base`, also of algorithms whose update depends on the base weight.
/// `progress` is told each module and how many there are.
///
/// # Errors
/// When a file cannot be read, or a module contradicts itself or the base.
pub fn inspect(
    path: &Path,
    base: Option<&Path>,
    registry: &Registry,
    device: &Device,
    progress: impl Fn(&str, usize),
) -> Result<Inspection, ApplyError> {
    let reader = match AdapterReader::open(path, &stems(registry)) {
        Ok(reader) => reader,
        Err(FileError::NoAdapter { .. }) => {
            let contents = Contents::of(&Checkpoint::open(path)?);
            return Ok(Inspection::Checkpoint(Box::new(contents)));
        }
        Err(error) => return Err(error.into()),
    };
    let base = base.map(Checkpoint::open).transpose()?;
    let names = Names::new(base.iter().flat_map(|base| base.names()));
    let how = ModuleReader { path, registry, device, dtype: DType::F32 };
    let mut leftovers = Leftovers::of(&reader);
    let modules = reader.modules().count();
    let mut rows = Vec::new();
    for module in reader.modules() {
        progress(module, modules);
        let tensors = reader.read(module)?;
        let target = base.as_ref().and_then(|_| leftovers.expect(module, &names));
        let holding = match (&base, target) {
            (Some(base), Some(target)) => {
                let value = |it: &Parameter| it.read(base, device, how.dtype).map(Some);
                how.at_base(module, &tensors, Parameter::of(base, target)?, value)?
            }
            _ => how.alone(module, &tensors)?,
        };
        if holding.held.is_empty() {
            leftovers.unknown(module, &tensors, "this layer");
            continue;
        }
        leftovers.unused(module, &holding.unused);
        let dtype = dtypes(&reader, module);
        rows.extend(holding.held.iter().map(|held| AdapterRow::of(module, held, &tensors, &dtype)));
    }
    let squares = rows.iter().map(|row| row.norm.map(|norm| norm * norm));
    let norm = squares.sum::<Option<f64>>().filter(|_| !rows.is_empty());
    Ok(Inspection::Adapter(Box::new(Adapters {
        file: path.into(),
        bytes: std::fs::metadata(path).map_or(0, |about| about.len()),
        dialect: reader.dialect().name(),
        modules,
        parameters: rows.iter().map(|row| row.parameters).sum(),
        norm: norm.map(f64::sqrt),
        adapters: rows,
        leftovers: leftovers.into_vec(),
        notes: notes(&reader, registry),
        metadata: reader.metadata().clone(),
    })))
}

/// The element types of a module's tensors.
fn dtypes(reader: &AdapterReader, module: &str) -> String {
    let dtypes = reader.tensors(module).filter_map(|(_, info)| Some(info?.dtype.to_string()));
    dtypes.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("+")
}
