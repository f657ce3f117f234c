//! Writing an adapter in any dialect.

use std::collections::BTreeMap;

use higanbana_core::{Registry, Tensors, parts::scalar_data};

use super::{
    AdapterFile, Dialect, Encoded, Network,
    config::METADATA,
    encoded::Renamed,
    network,
    peft::Outgoing,
    rename::{Spot, Translator},
};
use crate::{
    FileError,
    apply::of_weight,
    names::{Architecture, Names, Target},
};

/// The tensors of a module with its alpha, without which LyCORIS cannot load it.
pub(super) fn with_alpha(registry: &Registry, tensors: &Tensors) -> Tensors {
    let mut tensors = tensors.clone();
    if let (false, Some(rank)) = (tensors.contains_key("alpha"), rank(registry, &tensors)) {
        tensors.insert("alpha".into(), scalar_data(rank as f64));
    }
    tensors
}

/// The rank of a module's algorithm, if it has one that its `alpha` is divided by.
fn rank(registry: &Registry, tensors: &Tensors) -> Option<usize> {
    let (at, _) = of_weight(registry, tensors)?;
    let mut kinds = registry.iter().filter(|kind| kind.keys().contains(&"alpha"));
    kinds.find(|kind| kind.detect(at, tensors))?.outline(at, tensors).rank
}

impl AdapterFile {
    /// The same adapter in the dialect `to`.
    ///
    /// Modules are renamed by `names`, those of the base. Without a base, a name of the dialect stays;
    /// of others, the published UNets and their text encoders are tried; failing that, a name's prefix
    /// has to tell the model, and behind it a dotted name is a path, while a flattened one can only
    /// change its prefix.
    ///
    /// All metadata stay, but for those of hashes, which are computed anew, and what the dialect says
    /// of itself.
    ///
    /// LyCORIS and kohya hold every algorithm. diffusers and PEFT hold those that say how
    /// ([`Adapter::PEFT`](higanbana_core::Adapter::PEFT)), one in a file; for diffusers, whose files have no
    /// alpha, `alpha / rank` is multiplied into a tensor, so that every reader agrees.
    ///
    /// # Errors
    /// When the base has no module of a name, a module has no name in `to`, or `to` cannot hold a
    /// tensor; the message names the module and the remedy.
    pub fn encode(
        &self,
        registry: &Registry,
        to: Dialect,
        names: Option<&Names>,
        network: &Network,
    ) -> Result<Encoded, FileError> {
        let published = names.is_none().then(|| self.published_names()).flatten();
        let modules = self.modules.keys().map(String::as_str);
        let translator = match names {
            Some(names) => Translator::new(&self.path, names, to),
            None => Translator::alone(&self.path, published.as_ref(), to, modules),
        };
        let located = self.modules.keys().map(|module| translator.locate(module));
        let located = located.collect::<Result<Vec<_>, _>>()?;
        if to == Dialect::Peft {
            self.expect_one_model(&located)?;
        }
        let mut renamed = Renamed::new();
        for ((module, tensors), spot) in self.modules.iter().zip(located) {
            let name = translator.name(module, spot.as_ref())?;
            if let Some((first, _)) = renamed.insert(name.clone(), (module, tensors)) {
                return Err(FileError::DuplicateKey {
                    path: self.path.clone(),
                    key: name,
                    first: first.into(),
                    second: module.clone(),
                });
            }
        }
        let arguments = &network::arguments(&self.metadata);
        let outgoing = Outgoing { path: &self.path, registry, arguments, to };
        let mut encoded = match to {
            Dialect::Lycoris | Dialect::Kohya => self.encode_flat(registry, &renamed, network),
            Dialect::Diffusers => outgoing.to_diffusers(&renamed)?.with_metadata(&self.metadata),
            Dialect::Peft => outgoing.to_peft(&renamed)?.with_metadata(&self.metadata),
        };
        encoded.hash(to);
        Ok(encoded)
    }

    /// Refuses a file of several models, which PEFT has none for.
    fn expect_one_model(&self, located: &[Option<Spot>]) -> Result<(), FileError> {
        let model = |spot: &Option<Spot>| spot.as_ref().and_then(|spot| spot.component);
        let mut models = self.modules.keys().zip(located.iter().map(model));
        let first = models.next().map(|(_, model)| model);
        match models.find(|(_, model)| Some(*model) != first) {
            None => Ok(()),
            Some((module, _)) => Err(FileError::NoSpelling {
                path: self.path.clone(),
                module: module.clone(),
                dialect: Dialect::Peft.name(),
                remedy: "PEFT's files hold one model and this one several, choose --to diffusers",
            }),
        }
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

    fn encode_flat(&self, registry: &Registry, modules: &Renamed, network: &Network) -> Encoded {
        let mut out = BTreeMap::new();
        for (name, (_, tensors)) in modules {
            let tensors = with_alpha(registry, tensors);
            out.extend(tensors.into_iter().map(|(key, data)| (format!("{name}.{key}"), data)));
        }
        out.extend(self.carried.clone());
        let mut metadata = self.metadata.clone();
        metadata.remove(METADATA);
        network.describe(&mut metadata);
        Encoded { tensors: out, metadata, adapter_config: None }
    }
}
