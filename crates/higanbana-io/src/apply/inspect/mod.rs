//! What is in a file.

mod checkpoint;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use higanbana_core::Registry;
use serde::Serialize;

pub use checkpoint::{Contents, Count};

use super::leftover::Leftovers;
use super::{ApplyError, Leftover, stems};
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
    pub adapters: Vec<Row>,
    /// Number of modules.
    pub modules: usize,
    /// Trained values of all.
    pub parameters: usize,
    /// Frobenius norm of all updates together; none if one of them could not be computed.
    pub norm: Option<f64>,
    /// Modules and tensors that are not understood, or do not fit the base.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// The adapter of one parameter.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The module's name in the file.
    pub module: String,
    /// `weight` or `bias`.
    pub parameter: &'static str,
    /// The tensor of the base that it adapts, if a base was given and has it.
    pub key: Option<String>,
    /// The algorithm's name.
    pub algorithm: &'static str,
    /// Shape of the parameter: of the base's, else as far as the file tells. A file may keep a
    /// kernel unfolded, `[out, in·K]`.
    pub shape: Option<Vec<usize>>,
    /// Rank, where the algorithm has one.
    pub rank: Option<usize>,
    /// `alpha` of the file, where it has one.
    pub alpha: Option<f64>,
    /// Trained values.
    pub parameters: usize,
    /// Element types of its tensors, joined by `+`.
    pub dtype: String,
    /// Frobenius norm of the update at strength 1; none if it follows from the base weight, and no
    /// base was given or it does not have the module.
    pub norm: Option<f64>,
}

/// Says what is in a file; with `base`, also of algorithms whose update depends on the base weight.
/// `progress` is told each module and how many there are.
///
/// # Errors
///
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
    let mut leftovers = Leftovers::of(&reader, &names);
    let modules = reader.modules().count();
    let mut rows = Vec::new();
    for module in reader.modules() {
        progress(module, modules);
        let tensors = reader.read(module)?;
        let target = if base.is_some() { leftovers.expect(module) } else { None };
        let places = match (&base, target) {
            (Some(base), Some(target)) => places::of(base, target, &tensors, registry, device)?,
            _ => places::guess(module, &tensors, registry, device),
        };
        if places.is_empty() {
            leftovers.unknown(module, &tensors, "this layer");
            continue;
        }
        let read = places::read(&places, module, &tensors, registry, device)
            .map_err(ApplyError::adapter(path))?;
        leftovers.unused(module, &read.unused);
        let dtype = dtypes(&reader, module);
        let found = places.iter().zip(read.adapters);
        rows.extend(found.map(|(place, adapter)| place.row(module, &tensors, adapter, &dtype)));
    }
    let norm = rows.iter().map(|row| row.norm.map(|norm| norm * norm)).sum::<Option<f64>>();
    Ok(Inspection::Adapter(Box::new(Adapters {
        file: path.into(),
        bytes: std::fs::metadata(path).map_or(0, |about| about.len()),
        dialect: reader.dialect().name(),
        modules,
        parameters: rows.iter().map(|row| row.parameters).sum(),
        norm: norm.map(f64::sqrt),
        adapters: rows,
        leftovers: leftovers.into_vec(),
        notes: reader.notes().to_vec(),
        metadata: reader.metadata().clone(),
    })))
}

/// The element types of a module's tensors.
fn dtypes(reader: &AdapterReader, module: &str) -> String {
    let dtypes = reader.tensors(module).filter_map(|(_, info)| Some(info?.dtype.to_string()));
    dtypes.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("+")
}
