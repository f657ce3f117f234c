//! Writing PEFT's and diffusers' files: of one algorithm for all modules of one model.

use std::{collections::BTreeMap, mem::replace, path::Path};

use burn::tensor::{DType, Device, TensorData};
use higanbana_core::{
    Arguments, Kind, Parts, Registry,
    peft::{Configured, NotHeld},
};
use serde_json::{Map, Value, json};

use super::Form;
use crate::{
    FileError,
    apply::of_weight,
    dialect::{
        Dialect, Encoded, Tensors,
        config::METADATA,
        encoded::Renamed,
        options::options,
        origin::{reshaped, scaled},
    },
    names::{PEFT, Prefix},
};

/// A file on its way into one of the two dialects.
pub(crate) struct Outgoing<'a> {
    pub path: &'a Path,
    pub registry: &'a Registry,
    pub arguments: &'a Arguments,
    pub to: Dialect,
}

/// One of its modules.
pub(crate) struct Module<'a> {
    /// As the file calls it.
    own: &'a str,
    /// As the dialect does.
    name: &'a str,
    /// What the dialect calls its model; nothing where the name does not tell.
    model: &'a str,
    /// Its path within its model.
    path: &'a str,
    tensors: &'a Tensors,
    spelled: Spelled<'a>,
}

/// Keys of tensors, by ours, in a file that keeps them, and the form in whose spelling they are.
pub(crate) type Spelled<'a> = BTreeMap<&'a str, (&'a str, Option<Form>)>;

impl<'a> Module<'a> {
    fn new(own: &'a str, name: &'a str, tensors: &'a Tensors) -> Self {
        let told = Prefix::split(name).filter(|(prefix, _)| prefix.model.is_some());
        let (model, path) = match (name.strip_prefix(PEFT), told) {
            (Some(path), _) => ("", path),
            (None, Some((prefix, path))) => (prefix.text.trim_end_matches('.'), path),
            (None, None) => ("", name),
        };
        Self { own, name, model, path, tensors, spelled: Spelled::new() }
    }

    /// One that keeps its name and the keys of its tensors.
    pub fn own(name: &'a str, tensors: &'a Tensors, spelled: Spelled<'a>) -> Self {
        Self { spelled, ..Self::new(name, name, tensors) }
    }
}

/// The modules under their new names.
fn modules<'a>(renamed: &'a Renamed) -> Vec<Module<'a>> {
    renamed.iter().map(|(name, (own, tensors))| Module::new(own, name, tensors)).collect()
}

impl Outgoing<'_> {
    /// The file as diffusers has it.
    pub fn to_diffusers(&self, renamed: &Renamed) -> Result<Encoded, FileError> {
        self.diffusers(modules(renamed))
    }

    /// The metadata tell diffusers what it cannot see: that ranks differ, and that no rank is scaled.
    pub fn diffusers(&self, modules: Vec<Module>) -> Result<Encoded, FileError> {
        let mut models = BTreeMap::<&str, Vec<Module>>::new();
        for module in modules {
            models.entry(module.model).or_default().push(module);
        }
        let (mut tensors, mut about) = (BTreeMap::new(), Map::new());
        for (model, modules) in models {
            let config = self.model(self.form(&modules)?, &modules, &mut tensors)?;
            // They tell of the models of a pipeline, by name.
            let config = config.into_iter().filter(|_| !model.is_empty());
            about.extend(config.map(|(key, value)| (format!("{model}.{key}"), value)));
        }
        let mut metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        if !about.is_empty() {
            metadata.insert(METADATA.to_string(), Value::Object(about).to_string());
        }
        Ok(Encoded { tensors, metadata, adapter_config: None })
    }

    /// The file as PEFT has it, with its configuration.
    ///
    /// # Errors
    /// When it is of several algorithms, or PEFT has no place for a tensor.
    pub fn to_peft(&self, renamed: &Renamed) -> Result<Encoded, FileError> {
        self.peft(&modules(renamed), None)
    }

    /// With a configuration that has the options `said` of another one too, where it needs no others.
    pub fn peft(
        &self,
        modules: &[Module],
        said: Option<&Map<String, Value>>,
    ) -> Result<Encoded, FileError> {
        let form = self.form(modules)?;
        let mut tensors = BTreeMap::new();
        let mut config = Map::from_iter([("peft_type".to_string(), json!(form.name()))]);
        config.extend(self.model(form, modules, &mut tensors)?);
        let rest = [
            ("task_type", Value::Null),
            ("base_model_name_or_path", Value::Null),
            ("inference_mode", json!(true)),
        ];
        let said = said.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        let rest = rest.map(|(name, value)| (name.to_string(), value));
        for (name, value) in said.chain(rest) {
            config.entry(name).or_insert(value);
        }
        let text = serde_json::to_string_pretty(&config)
            .map_err(|e| FileError::Config { path: self.path.into(), reason: e.to_string() })?;
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        Ok(Encoded { tensors, metadata, adapter_config: Some(text) })
    }

    /// Adds the tensors of a model's modules; its configuration.
    fn model(
        &self,
        form: Form,
        modules: &[Module],
        out: &mut BTreeMap<String, TensorData>,
    ) -> Result<Map<String, Value>, FileError> {
        let device = Device::default();
        let parts = modules.iter().map(|module| {
            Parts::new(module.own, module.tensors, &device, DType::F32)
                .with_arguments(self.arguments)
        });
        let configured = form.write(&parts.collect::<Vec<_>>());
        let Configured { mut scales, options: own } =
            configured.map_err(|NotHeld { module, what }| self.cannot_hold(&module, &what))?;
        let mut factors = vec![1.0; modules.len()];
        if self.to == Dialect::Diffusers {
            // It refuses files that have an alpha, and other readers do not know its metadata.
            for (factor, (rank, alpha)) in factors.iter_mut().zip(&mut scales) {
                *factor = replace(alpha, *rank as f64) / *rank as f64;
            }
        }
        for (module, factor) in modules.iter().zip(factors) {
            self.store(form, module, factor, out)?;
        }
        let paths: Vec<&str> = modules.iter().map(|module| module.path).collect();
        let mut config = options(&paths, &scales, form.alpha());
        config.extend(own.into_iter().map(|(name, value)| (name.to_string(), value)));
        Ok(config)
    }

    fn store(
        &self,
        form: Form,
        module: &Module,
        factor: f64,
        out: &mut BTreeMap<String, TensorData>,
    ) -> Result<(), FileError> {
        for key in form.tensors() {
            let Some(data) = module.tensors.get(*key).cloned() else { continue };
            let factor = if form.scaled() == Some(key) { factor } else { 1.0 };
            let data = scaled(self.path, module.own, data, factor)?;
            let theirs = form.names().iter().find(|(_, ours)| ours == key);
            let theirs = theirs.map_or(*key, |(theirs, _)| theirs);
            let name = match module.spelled.get(key) {
                // Spelled as ours in the file, it has our shape there too.
                Some((own, None)) => {
                    out.insert(own.to_string(), data);
                    continue;
                }
                Some((own, Some(_))) => own.to_string(),
                None => format!("{}.{theirs}", module.name),
            };
            let shape = form.their_shape(key, data.shape());
            out.insert(name, reshaped(data, &shape));
        }
        Ok(())
    }

    /// The form of all of these modules.
    fn form(&self, modules: &[Module]) -> Result<Form, FileError> {
        let forms = modules.iter().map(|module| Ok((module, self.form_of(module)?)));
        let forms = forms.collect::<Result<Vec<_>, FileError>>()?;
        let Some((_, first)) = forms.first() else {
            let reason = "it has no modules".into();
            return Err(FileError::NoAdapter { path: self.path.into(), reason });
        };
        match forms.iter().find(|(_, form)| form.name() != first.name()) {
            None => Ok(*first),
            Some((module, other)) => {
                let what = format!("{} beside {}", other.name(), first.name());
                Err(self.cannot_hold(module.own, &what))
            }
        }
    }

    /// The form of a module's algorithm, if the dialect has it and it has a place for every tensor.
    fn form_of(&self, module: &Module) -> Result<Form, FileError> {
        let form = of_weight(self.registry, module.tensors).and_then(|(_, kind)| kind.peft());
        let form = form.filter(|form| self.to == Dialect::Peft || form.scaled().is_some());
        let held = form.map_or(&[][..], |form| form.tensors());
        let mut left = module.tensors.keys().filter(|key| *key != "alpha");
        match (left.find(|key| !held.contains(&key.as_str())), form) {
            (None, Some(form)) => Ok(form),
            (key, _) => Err(self.cannot_hold(module.own, key.map_or("alpha", |key| key))),
        }
    }

    /// Says what the dialect has no place for.
    fn cannot_hold(&self, module: &str, what: &str) -> FileError {
        // Both hold an algorithm that needs no alpha.
        let is_held = |kind: &&Kind| kind.peft().is_some_and(|form| form.scaled().is_some());
        let baked = self.registry.iter().filter(|kind| kind.fitted().is_some()).find(is_held);
        FileError::CannotHold {
            path: self.path.into(),
            module: module.into(),
            what: what.into(),
            dialect: self.to.name(),
            bake: baked.map(Kind::name),
        }
    }
}
