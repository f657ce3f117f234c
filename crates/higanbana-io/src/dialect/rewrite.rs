//! A file with other tensors: every module, and every tensor that stays, under the name that it has.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use higanbana_core::{Registry, Tensors};
use serde_json::{Map, Value};

use super::{
    AdapterFile, AdapterReader, Dialect, Encoded, Network,
    cloneofsimo::is_counted,
    encode::with_alpha,
    network::arguments,
    origin::reshaped,
    peft::{Module, Outgoing, Spelled},
};
use crate::FileError;

impl AdapterFile {
    /// The file with every module, and every tensor of it that stays, under the name that it has in the file
    /// that `reader` gives for it; a configuration of PEFT's has the options `said` too. What is carried along
    /// and the metadata stay, hashes are computed anew.
    ///
    /// # Errors
    /// When the file's dialect cannot hold a tensor.
    pub(crate) fn spelled_as<'r>(
        &self,
        registry: &Registry,
        reader: impl Fn(&str) -> &'r AdapterReader,
        said: Option<&Map<String, Value>>,
        network: &Network,
    ) -> Result<Encoded, FileError> {
        let (own, scaled): (Vec<_>, Vec<_>) =
            self.modules.iter().partition(|(module, _)| reader(module).holds_alpha(module));
        let scaled: Vec<Module> = scaled
            .into_iter()
            .map(|(name, tensors)| Module::own(name, tensors, reader(name).spelled(name)))
            .collect();
        let (path, to, arguments) = (&self.path, self.dialect, &arguments(&self.metadata));
        let outgoing = Outgoing { path, registry, arguments, to };
        let mut encoded = match to {
            _ if scaled.is_empty() => Encoded::default(),
            Dialect::Peft => outgoing.peft(&scaled, said)?,
            _ => outgoing.diffusers(scaled)?,
        };
        for (module, tensors) in own {
            let spelled = reader(module).spelled(module);
            for (suffix, data) in with_alpha(registry, tensors) {
                let (key, data) = own_spelling(module, &suffix, data, &spelled);
                encoded.tensors.insert(key, data);
            }
        }
        encoded.tensors.extend(self.carried.clone());
        if to.is_flat() {
            encoded.metadata = self.metadata.clone();
            network.describe(&mut encoded.metadata);
        } else {
            encoded = encoded.with_metadata(&self.metadata);
        }
        encoded.hash(to);
        Ok(encoded)
    }
}

impl AdapterReader {
    /// The same file with these tensors in the place of its own; modules that are not among them are
    /// left out. What is carried along and the metadata stay, hashes are computed anew.
    ///
    /// # Errors
    /// When the file's dialect cannot hold a tensor, or what is carried cannot be read.
    pub fn rewrite(
        &self,
        registry: &Registry,
        modules: BTreeMap<String, Tensors>,
        network: &Network,
    ) -> Result<Encoded, FileError> {
        let (metadata, carried) = (self.metadata().clone(), self.carried()?);
        let file = AdapterFile::new(self.path(), self.dialect(), modules);
        let file = AdapterFile { metadata, carried, ..file };
        file.spelled_as(registry, |_| self, self.said(), network)
    }

    /// Whether a module's alpha is, or would be, a tensor of the file: in PEFT's files, and in
    /// diffusers' own spelling, it is not.
    fn holds_alpha(&self, module: &str) -> bool {
        let mut origins = self.origins(module);
        match self.dialect() {
            Dialect::Lycoris | Dialect::Kohya => true,
            Dialect::Peft => false,
            Dialect::Diffusers => {
                let is_foreign = self.origins(module).any(|(_, origin)| origin.form().is_some());
                !is_foreign || origins.any(|(suffix, it)| suffix == "alpha" && it.key().is_some())
            }
        }
    }

    /// How the file spells a module's tensors, if by the module's name.
    fn spelled(&self, module: &str) -> Spelled<'_> {
        let stored = self.origins(module);
        let stored = stored.filter_map(|(ours, it)| Some((ours, (it.key()?, it.form()))));
        stored.filter(|(_, (key, _))| !is_counted(key)).collect()
    }
}

/// The key of one of our tensors in the file, and the tensor in the shape that it has there.
fn own_spelling(
    module: &str,
    suffix: &str,
    data: TensorData,
    spelled: &Spelled,
) -> (String, TensorData) {
    match spelled.get(suffix) {
        None => (format!("{module}.{suffix}"), data),
        Some((key, None)) => (key.to_string(), data),
        Some((key, Some(form))) => {
            let shape = form.their_shape(suffix, data.shape());
            (key.to_string(), reshaped(data, &shape))
        }
    }
}
