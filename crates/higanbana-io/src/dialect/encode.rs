//! Writing an adapter in any dialect.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use higanbana_core::Arguments;

use super::{
    AdapterFile, Dialect, Encoded, Network, Tensors, encoded::Renamed, key::DOWN, low_rank,
    module::Module, network, peft, rename::Translator,
};
use crate::{
    FileError,
    names::{Architecture, Component, Names, Target},
    sshs_model_hash, writer,
};

impl AdapterFile {
    /// The same adapter in the dialect `to`.
    ///
    /// Modules are renamed by `names`, those of the base. Without a base, a file that has the dialect
    /// keeps its names; else the published UNets and their text encoders are tried; failing that,
    /// dotted names are their own path, and flattened names can only change their prefix.
    ///
    /// LyCORIS and kohya hold every algorithm. diffusers and PEFT hold low-rank adapters, weight
    /// decomposed or not, and PEFT also LoHa and LoKr, of one algorithm in a file; for diffusers, whose
    /// files have no alpha, `alpha / rank` is multiplied into `lora_B`, so that every reader agrees.
    ///
    /// # Errors
    /// When the base has no module of a name, a module has no name in `to`, or `to` cannot hold a
    /// tensor; the message names the module and the remedy.
    pub fn encode(
        &self,
        to: Dialect,
        names: Option<&Names>,
        network: &Network,
    ) -> Result<Encoded, FileError> {
        let is_needed = names.is_none() && to != self.dialect;
        let published = is_needed.then(|| self.published_names()).flatten();
        let translator = Translator::new(&self.path, names.or(published.as_ref()), to);
        let mut renamed = Renamed::new();
        for (module, tensors) in &self.modules {
            let spot = translator.locate(module)?;
            let name = translator.name(module, spot.as_ref())?;
            let component = spot.map_or(Component::Model, |spot| spot.component);
            if let Some((first, ..)) = renamed.insert(name.clone(), (module, component, tensors)) {
                return Err(FileError::DuplicateKey {
                    path: self.path.clone(),
                    key: name,
                    first: first.into(),
                    second: module.clone(),
                });
            }
        }
        let arguments = network::arguments(&self.metadata);
        match to {
            Dialect::Lycoris | Dialect::Kohya => Ok(self.encode_flat(&renamed, network)),
            Dialect::Diffusers => {
                low_rank::encode_diffusers(&self.path, &self.listed(&renamed, &arguments, to))
            }
            Dialect::Peft => {
                peft::encode(&self.path, &renamed, &self.listed(&renamed, &arguments, to))
            }
        }
    }

    fn listed<'a>(
        &'a self,
        renamed: &'a Renamed,
        arguments: &'a Arguments,
        to: Dialect,
    ) -> Vec<Module<'a>> {
        let module = |(name, (own, _, tensors)): (&'a String, &'a (&str, Component, &Tensors))| {
            Module { file: &self.path, arguments, own, name, tensors, to }
        };
        renamed.iter().map(module).collect()
    }

    /// The names of the published architecture that has all of the file's modules. A smaller UNet may
    /// have them too: only the deepest of its transformers tell that it is SDXL.
    fn published_names(&self) -> Option<Names> {
        Architecture::ALL.into_iter().find_map(|architecture| {
            let names = Names::of(architecture);
            let targets = self.modules.keys().map(|module| names.find(module).ok().flatten());
            let targets: Vec<_> = targets.collect::<Option<_>>()?;
            let is_deep = |target: &&Target| target.weight.contains(".transformer_blocks.9.");
            let is_told = targets.iter().any(is_deep);
            Some(if is_told { names } else { names.of_any() })
        })
    }

    fn encode_flat(&self, modules: &Renamed, network: &Network) -> Encoded {
        let mut out = BTreeMap::new();
        for (name, (_, _, tensors)) in modules {
            for (suffix, data) in *tensors {
                out.insert(format!("{name}.{suffix}"), data.clone());
            }
            // LyCORIS cannot load a module without alpha.
            if let (false, Some(down)) = (tensors.contains_key("alpha"), tensors.get(DOWN)) {
                let rank = down.shape().first().copied().unwrap_or(1);
                let alpha = TensorData::new(vec![rank as f32], [0usize; 0]);
                out.insert(format!("{name}.alpha"), alpha);
            }
        }
        let mut metadata = self.metadata.clone();
        metadata.retain(|key, _| key.starts_with("ss_") || key.starts_with("modelspec."));
        network.describe(&mut metadata);
        let in_file_order = writer::file_order(&out).into_iter().map(|(_, data)| data);
        metadata.insert("sshs_model_hash".into(), sshs_model_hash(in_file_order));
        Encoded { tensors: out, metadata, adapter_config: None }
    }
}
