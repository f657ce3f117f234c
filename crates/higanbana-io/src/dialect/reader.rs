//! Reading an adapter file of any dialect, module by module.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use higanbana_core::{Arguments, Registry};
use serde_json::{Map, Value};

use super::{
    AdapterFile, BUNDLED, Dialect, LONE_ALPHA, Tensors, Unused,
    cloneofsimo::Counted,
    config::{Configs, config_path},
    key::{Key, Keys},
    network,
    origin::Origin,
    peft::{self, Form},
};
use crate::{
    Checkpoint, Embedding, FileError, Info, embedding,
    names::{PEFT, Prefix, kohya},
};

/// An adapter file, open for reading: what is in it is known, tensors are read when asked for.
#[derive(Debug)]
pub struct AdapterReader {
    checkpoint: Checkpoint,
    dialect: Dialect,
    modules: BTreeMap<String, BTreeMap<String, Origin>>,
    unused: Vec<Unused>,
    notes: Vec<String>,
    arguments: Arguments,
    configs: Configs,
}

impl AdapterReader {
    /// Opens a file and sorts its tensors into modules, by the names that the algorithms of the registry
    /// give theirs.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]; a configuration that cannot be read; a tensor that is there
    /// in two spellings; no adapter at all.
    pub fn open(path: impl Into<PathBuf>, registry: &Registry) -> Result<Self, FileError> {
        let keys = Keys::of(registry);
        let checkpoint = Checkpoint::open(path)?;
        let (arguments, note) = network::said(checkpoint.path(), checkpoint.metadata())?;
        let mut reader = Self {
            arguments,
            checkpoint,
            dialect: Dialect::Lycoris,
            modules: BTreeMap::new(),
            unused: Vec::new(),
            notes: note.into_iter().collect(),
            configs: Configs::default(),
        };
        reader.notes.extend_from_slice(reader.checkpoint.notes());
        let foreign = reader.sort(&keys)?;
        reader.drop_bare_tensors();
        reader.dialect = reader.recognise(foreign);
        let configs = reader.configs()?;
        let saved: Vec<&str> = reader.unused.iter().map(|unused| unused.key.as_str()).collect();
        let notes = configs.check(reader.path(), &keys.forms, &saved)?;
        reader.notes.extend(notes);
        reader.translate(&configs, &keys.forms)?;
        reader.configs = configs;
        if reader.modules.is_empty() {
            let (path, reason) = (reader.path().into(), reader.excuse());
            return Err(FileError::NoAdapter { path, reason });
        }
        Ok(reader)
    }

    /// Gives every tensor its place; whether one was in a foreign spelling.
    fn sort(&mut self, keys: &Keys) -> Result<bool, FileError> {
        let mut any_foreign = false;
        let counted = Counted::of(&self.checkpoint)?;
        for key in self.checkpoint.names() {
            let named = counted.as_ref().and_then(|counted| counted.key(key));
            let place = match embedding::is_bundled(&self.checkpoint, key) {
                true => Err(BUNDLED),
                false => keys.place(named.as_ref().unwrap_or(key)),
            };
            let Key { module, suffix, form } = match place {
                Ok(place) => place,
                Err(reason) => {
                    self.unused.push(Unused { key: key.clone(), reason });
                    continue;
                }
            };
            any_foreign |= form.is_some();
            let stored = self.checkpoint.info(key).map_or(&[][..], |info| &info.shape);
            let shape = form.map_or(stored.into(), |form| form.our_shape(&suffix, stored));
            let origin = Origin::Tensor { key: key.clone(), shape, factor: 1.0, form };
            let tensors = self.modules.entry(module.clone()).or_default();
            if let Some(first) = tensors.insert(suffix.clone(), origin) {
                return Err(FileError::DuplicateKey {
                    path: self.checkpoint.path().into(),
                    key: format!("{module}.{suffix}"),
                    first: first.key().unwrap_or_default().into(),
                    second: key.clone(),
                });
            }
        }
        if counted.is_some() {
            self.notes.push(format!(
                "{}: its pairs are counted, not named: taken in the order of SD 1's and 2's layers in diffusers",
                self.checkpoint.path().display()
            ));
        }
        Ok(any_foreign)
    }

    /// A lone `weight` is a tensor of the model, saved along; a lone `alpha` means nothing.
    fn drop_bare_tensors(&mut self) {
        let bare = |tensors: &BTreeMap<String, Origin>| {
            tensors.keys().all(|suffix| suffix == "weight" || suffix == "alpha")
        };
        let modules = std::mem::take(&mut self.modules);
        let (dropped, kept): (BTreeMap<_, _>, _) =
            modules.into_iter().partition(|(_, tensors)| bare(tensors));
        self.modules = kept;
        for (suffix, origin) in dropped.into_values().flatten() {
            let reason = match suffix.as_str() {
                "alpha" => LONE_ALPHA,
                _ => "a tensor of the model itself, not of an adapter",
            };
            self.unused.extend(origin.key().map(|key| Unused { key: key.into(), reason }));
        }
    }

    fn recognise(&self, foreign: bool) -> Dialect {
        let any = |test: &dyn Fn(&str) -> bool| self.modules.keys().any(|module| test(module));
        let is_kohya = |module: &str| {
            let told = Prefix::split(module).is_some_and(|(prefix, _)| prefix.model.is_some());
            told || module.starts_with(kohya::ANY)
        };
        if any(&|module| module.starts_with(PEFT)) {
            Dialect::Peft
        } else if any(&|module| {
            module.contains('.') || (foreign && Prefix::split(module).is_none())
        }) {
            Dialect::Diffusers
        } else if any(&is_kohya) {
            Dialect::Kohya
        } else {
            Dialect::Lycoris
        }
    }

    fn configs(&mut self) -> Result<Configs, FileError> {
        if self.dialect != Dialect::Peft {
            return Configs::within(&self.checkpoint);
        }
        let configs = Configs::beside(self.path())?;
        if configs.is_none() {
            self.notes.push(format!(
                "{}: no adapter_config.json beside it, so alpha is taken to be the rank, and every option to be \
                 PEFT's default",
                self.path().display()
            ));
        }
        Ok(configs.unwrap_or_else(Configs::of_defaults))
    }

    /// Puts every module in LyCORIS's terms.
    fn translate(&mut self, configs: &Configs, forms: &[Form]) -> Result<(), FileError> {
        let path = self.checkpoint.path();
        self.modules.iter_mut().try_for_each(|(module, tensors)| {
            let config = configs.find(module);
            let is_foreign = tensors.values().any(|origin| origin.form().is_some());
            match self.dialect {
                Dialect::Lycoris | Dialect::Kohya if config.is_none() && !is_foreign => Ok(()),
                _ => peft::decode(path, module, tensors, forms, config),
            }
        })
    }

    fn excuse(&self) -> String {
        match &self.unused[..] {
            [] => "it has no tensors".into(),
            [only] => format!("its only tensor belongs to none ({only})"),
            [first, ..] => {
                format!("none of its {} tensors belongs to one ({first})", self.unused.len())
            }
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    /// Leaves a module out, as if the file did not have it; whether it has it.
    pub fn leave_out(&mut self, module: &str) -> bool {
        let found = self.modules.remove(module).is_some();
        if found {
            let path = self.checkpoint.path().display();
            self.notes.push(format!("{path}: {module} is left out, as asked"));
        }
        found
    }

    /// Size of the file, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.checkpoint.total_bytes()
    }

    /// The files that it is made of: PEFT's have a configuration beside.
    pub fn files(&self) -> Vec<PathBuf> {
        let config = config_path(self.path());
        let config = (self.dialect == Dialect::Peft && config.exists()).then_some(config);
        [self.path().to_path_buf()].into_iter().chain(config).collect()
    }

    /// How it spells its names.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The header's metadata.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.checkpoint.metadata()
    }

    /// What the metadata say of the network, in LyCORIS's words.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Tensors that belong to no module, and why.
    pub fn unused(&self) -> &[Unused] {
        &self.unused
    }

    /// Reads the tensors that are no module's and go where the adapter goes.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn carried(&self) -> Result<Tensors, FileError> {
        let keys = self.unused.iter().filter(|unused| unused.is_bundled());
        keys.map(|Unused { key, .. }| Ok((key.clone(), self.checkpoint.read(key)?))).collect()
    }

    /// What a user should know: one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file, whose tensors are those of the modules and others.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Embeddings that are bundled with the adapter; they are among the [unused](Self::unused).
    ///
    /// # Errors
    /// When the tensor of one has an impossible shape.
    pub fn embeddings(&self) -> Result<Vec<Embedding>, FileError> {
        Embedding::bundled(&self.checkpoint)
    }

    /// The modules' names as the file has them.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// A module's tensors: the suffix, and dtype and shape in the file if it is stored there.
    pub fn tensors(&self, module: &str) -> impl Iterator<Item = (&str, Option<&Info>)> {
        let info = |origin: &Origin| self.checkpoint.info(origin.key()?);
        self.origins(module).map(move |(suffix, origin)| (suffix, info(origin)))
    }

    /// Where a module's tensors come from, by our names.
    pub(super) fn origins(&self, module: &str) -> impl Iterator<Item = (&str, &Origin)> {
        let origins = self.modules.get(module).into_iter().flatten();
        origins.map(|(suffix, origin)| (suffix.as_str(), origin))
    }

    /// The options of the configuration beside the file.
    pub(super) fn said(&self) -> Option<&Map<String, Value>> {
        self.configs.find(PEFT).map(|(config, _)| config.options())
    }

    /// Reads a module's tensors, in LyCORIS's names and shapes, and checks that they are finite.
    ///
    /// # Errors
    /// When there is no such module, a tensor cannot be read, or one holds NaN or an infinity.
    pub fn read(&self, module: &str) -> Result<Tensors, FileError> {
        let origins = self
            .modules
            .get(module)
            .ok_or_else(|| FileError::NoSuchKey { path: self.path().into(), key: module.into() })?;
        origins
            .iter()
            .map(|(suffix, origin)| Ok((suffix.clone(), origin.read(suffix, &self.checkpoint)?)))
            .collect()
    }

    /// A tensor of a module that is one number, if it has it and it can be read.
    pub fn number(&self, module: &str, suffix: &str) -> Option<f64> {
        let data = self.modules.get(module)?.get(suffix)?.read(suffix, &self.checkpoint).ok()?;
        (data.num_elements() == 1).then(|| data.iter::<f64>().next())?
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn read_all(&self) -> Result<AdapterFile, FileError> {
        let module = |name: &String| Ok((name.clone(), self.read(name)?));
        Ok(AdapterFile {
            path: self.path().into(),
            dialect: self.dialect,
            modules: self.modules.keys().map(module).collect::<Result<_, FileError>>()?,
            metadata: self.metadata().clone(),
            carried: self.carried()?,
            unused: self.unused.clone(),
        })
    }
}
