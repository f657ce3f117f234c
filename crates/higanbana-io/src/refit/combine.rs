//! Adapter files added up: one file whose update of each layer is the weighted sum of theirs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::{Arguments, Budget, Registry, Tensors};

use super::{
    FitError, RefitError, Refitted, Resize, Total, fit::Goal, modules::Modules, resize::Size,
};
use crate::{
    AdapterFile, FileError, Leftover, Names, Source,
    apply::{Found, Leftovers, Resolved, weight_or_bias},
    dialect::Encoded,
    names::Architecture,
};

/// How to combine.
#[derive(Debug)]
pub struct Combine<'a> {
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// What to keep of each sum; all of it, exactly, if none.
    pub budget: Option<Budget>,
    /// Element type of the file; if none, for each layer one that holds those of all its terms.
    pub dtype: Option<DType>,
    /// The base, for its names.
    pub base: Option<&'a Path>,
    /// Where to compute.
    pub device: Device,
    /// What to compute in: F32 or F64.
    pub compute: DType,
}

/// The sum of adapter files.
#[derive(Debug)]
pub struct Combined {
    /// The file, in the dialect that all of them have.
    pub file: Encoded,
    /// The sums.
    pub layers: Vec<Refitted>,
    /// What there is to say of each file.
    pub parts: Vec<Part>,
    /// The files that were read.
    pub inputs: Vec<PathBuf>,
}

/// One of the files.
#[derive(Debug)]
pub struct Part {
    /// The file and its strength.
    pub source: Source,
    /// Number of its modules.
    pub modules: usize,
    /// Tensors of it that are not in the sum.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

/// A layer, whatever the files call it: the key of its weight, and which of several in one weight.
type Place = (String, Option<usize>);

/// An adapter of one of the files.
struct Term<'a> {
    source: &'a Source,
    strength: f64,
    module: &'a str,
    found: Found<'a>,
    resolved: Resolved,
}

impl Combined {
    /// Of all sums.
    pub fn total(&self) -> Total {
        Total::of(&self.layers)
    }
}

impl Combine<'_> {
    /// Adds up the files, each with its strength. A layer that several of them adapt has the name
    /// that the first of these gives it, to the prefix and the keys of its tensors. `progress` is told each layer and how many there are.
    ///
    /// # Errors
    /// When a file cannot be read, they are not of one dialect, a file has
    /// several strengths, an algorithm has no sums or a layer
    /// several algorithms, layers of one name have several shapes, or a fit fails.
    pub fn run(
        &self,
        sources: &[Source],
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Combined, RefitError> {
        let strength = |source: &Source| {
            let several = || RefitError::SeveralStrengths { path: source.path.clone() };
            source.strength.uniform().ok_or_else(several)
        };
        let strengths = sources.iter().map(strength).collect::<Result<Vec<_>, _>>()?;
        let open = |source: &Source| {
            Modules::open(&source.path, self.base, self.registry, &self.device, self.compute)
        };
        let files = sources.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut file = in_common(&files)?;
        let mut leftovers: Vec<_> =
            files.iter().map(|it| Leftovers::rewriting(&it.reader, true)).collect();
        let mut namers = BTreeMap::new();
        let mut layers = Vec::new();
        let places = places(&files);
        for members in places.values() {
            let (first, name) = members[0];
            namers.insert(name, &files[first].reader);
            progress(name, places.len());
            let mut terms = BTreeMap::<&str, Vec<Term>>::new();
            for &(index, module) in members {
                let tensors = files[index].reader.read(module)?;
                let (source, strength) = (&sources[index], strengths[index]);
                for (found, resolved) in
                    files[index].read(module, &tensors, &mut leftovers[index])?
                {
                    let term = Term { source, strength, module, found, resolved };
                    terms.entry(weight_or_bias(term.resolved.site.kind)).or_default().push(term);
                }
            }
            let mut tensors = Tensors::new();
            for terms in terms.into_values() {
                tensors.extend(self.sum(name, terms, &mut layers)?);
            }
            file.modules.insert(name.into(), tensors);
        }
        let network = files[0].network(&file.modules);
        let parts = files.iter().zip(sources).zip(leftovers).map(|((file, source), left)| Part {
            source: source.clone(),
            modules: file.reader.modules().count(),
            leftovers: left.into_vec(),
            notes: file.notes(),
        });
        Ok(Combined {
            parts: parts.collect(),
            file: file.spelled_as(self.registry, |name| namers[name], None, &network)?,
            layers,
            inputs: files.iter().flat_map(Modules::files).collect(),
        })
    }

    /// The sum of the adapters of one parameter.
    fn sum(
        &self,
        name: &str,
        terms: Vec<Term>,
        layers: &mut Vec<Refitted>,
    ) -> Result<Tensors, RefitError> {
        let Term { source, strength, module, found, resolved } = &terms[0];
        let (path, kind, site) = (&source.path, found.kind, &resolved.site);
        if let Some(other) = terms.iter().find(|term| term.found.kind.name() != kind.name()) {
            return Err(RefitError::SeveralAlgorithms {
                path: other.source.path.clone(),
                module: other.module.into(),
                algorithm: other.found.kind.name().into(),
                other: format!("{} in {}", kind.name(), path.display()),
            });
        }
        let shape = |term: &Term| {
            let site = &term.resolved.site;
            [site.out(), site.cols(), site.taps()]
        };
        if let Some(other) = terms.iter().find(|term| shape(term) != shape(&terms[0])) {
            return Err(RefitError::SeveralShapes {
                path: other.source.path.clone(),
                module: other.module.into(),
                shape: other.resolved.site.shape.clone(),
                other: format!("{:?} in {}", site.shape, path.display()),
            });
        }
        let others: Vec<_> =
            terms[1..].iter().map(|term| (term.strength, &term.resolved.adapter)).collect();
        let sum = resolved.adapter.sum(site, *strength, &others).ok_or_else(|| {
            let (path, module, algorithm) = (path.clone(), (*module).into(), kind.name().into());
            RefitError::NoSum { path, module, algorithm }
        })?;
        let updates = terms.iter().map(|term| term.resolved.update(term.strength));
        let update = updates.reduce(|sum, update| sum + update).expect("there is a first");
        let dtype = self.dtype.unwrap_or_else(|| widest(&terms));
        let w0 = &resolved.w0;
        let arguments = &Arguments::new();
        let goal = Goal { kind, module: name, site, w0, update: &update, arguments };
        let exact = goal.meet(sum.write(site), dtype).map_err(FitError::of(path))?;
        let (tensors, fit) = match (self.budget, kind.outline(site.kind, &exact.0).rank) {
            (Some(budget), Some(rank)) => {
                let resize = Resize {
                    registry: self.registry,
                    budget,
                    dtype: Some(dtype),
                    base: None,
                    device: self.device.clone(),
                    compute: self.compute,
                };
                let found = Found {
                    kind,
                    at: found.at,
                    parameter: None,
                    tensors: exact.0.clone(),
                    resolved: None,
                };
                let resolved = Resolved { site: site.clone(), adapter: sum, w0: w0.clone() };
                match resize.one((path, arguments), name, &found, &resolved, rank)? {
                    Size::Smaller(tensors, fit) => (tensors, fit),
                    Size::SmallEnough(..) | Size::NotSmaller(..) => exact,
                }
            }
            _ => exact,
        };
        layers.push(Refitted::of(name, site, fit));
        Ok(tensors)
    }
}

/// What the files have in common: the dialect, and what they agree in of the metadata that are not of their
/// tensors. What they carry along is carried along.
fn in_common(files: &[Modules]) -> Result<AdapterFile, RefitError> {
    let mut file = files[0].file(BTreeMap::new())?;
    for other in &files[1..] {
        if other.reader.dialect() != file.dialect {
            return Err(RefitError::SeveralDialects {
                path: other.reader.path().into(),
                dialect: other.reader.dialect(),
                first: file.path,
                other: file.dialect,
            });
        }
        for (key, data) in other.reader.carried()? {
            if file.carried.insert(key.clone(), data).is_some() {
                let (path, first) = (other.reader.path().into(), file.path.display().to_string());
                let second = other.reader.path().display().to_string();
                return Err(FileError::DuplicateKey { path, key, first, second }.into());
            }
        }
        file.metadata.retain(|key, value| other.reader.metadata().get(key) == Some(value));
    }
    file.metadata.retain(|key, _| {
        let of_its_own = ["ss_network_args", "ss_network_module", "modelspec.hash_sha256"];
        (key.starts_with("ss_") || key.starts_with("modelspec."))
            && !of_its_own.contains(&key.as_str())
    });
    Ok(file)
}

/// Every layer that one of the files adapts, with the files' numbers and what they call it. By the names of the
/// base, or of the published architecture that knows most of the modules, one layer has one place; a module
/// that is of neither is its own.
fn places<'a>(files: &'a [Modules]) -> BTreeMap<Place, Vec<(usize, &'a str)>> {
    let modules = || files.iter().flat_map(|file| file.reader.modules());
    let known =
        |names: &Names| modules().filter(|it| matches!(names.find(it), Ok(Some(_)))).count();
    let published = Architecture::ALL.map(Names::of);
    let names = match &files[0].base {
        Some(base) => Some(&base.names),
        None => published.iter().max_by_key(|names| known(names)),
    };
    let place = |module: &str| match names.map(|names| names.find(module)) {
        Some(Ok(Some(target))) => (target.weight.clone(), target.part.map(|part| part.index)),
        _ => (module.into(), None),
    };
    let mut places = BTreeMap::<Place, Vec<_>>::new();
    for (index, file) in files.iter().enumerate() {
        for module in file.reader.modules() {
            places.entry(place(module)).or_default().push((index, module));
        }
    }
    places
}

/// An element type that holds the values of all terms.
fn widest(terms: &[Term]) -> DType {
    let mut dtypes = terms.iter().map(|term| term.found.dtype());
    let first = dtypes.next().unwrap_or(DType::F32);
    dtypes.fold(first, |a, b| match (a, b) {
        _ if a == b => a,
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        _ => DType::F32,
    })
}
