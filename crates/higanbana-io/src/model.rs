//! The adapters of a model as a file, and back: the bridge to [`higanbana_adapters::inject`].
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::Device};
//! use higanbana_adapters::inject::{Injection, adapters, attach, inject, sites};
//! use higanbana_adapters::registry;
//! use higanbana_io::{Dialect, load, save};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (base, registry) = (LinearConfig::new(8, 4).init(&Device::default()), registry());
//! let (model, _) = inject(&base, &registry, &Injection::new("style", "lora"))?;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("style.safetensors");
//! save(&path, &sites(&base), &adapters(&model, "style")?, Dialect::Lycoris, &registry, false)?;
//! let file = load(&path, &sites(&base), &registry)?;
//! assert!(file.leftovers.is_empty());
//! let again = attach(&base, "style", 1.0, file.adapters)?;
//! # Ok(())
//! # }
//! ```

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{DType, Device, Tensor};
use higanbana_adapters::inject::FoundSite;
use higanbana_core::{DynAdapter, Registry, Site, Tensors};

use crate::{
    AdapterFile, AdapterReader, Dialect, FileError, Leftover, Names, Target,
    apply::{ApplyError, Model, ModuleReader, Parameter},
    dialect::Network,
};

/// What a file holds for a model.
#[derive(Debug)]
pub struct Loaded {
    /// The adapters with the model's parameters, as [`higanbana_adapters::inject::attach`] takes them.
    pub adapters: Vec<(Site, DynAdapter)>,
    /// Modules and tensors of the file that have no place in the model.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

/// Writes adapters of a model whose [`sites`](higanbana_adapters::inject::sites()) are these, with alpha
/// and metadata: [`adapters`](higanbana_adapters::inject::adapters) gives those of a set. A layer `a.b` is
/// `lycoris_a_b` in LyCORIS's dialect. A set's strength is not kept.
///
/// # Errors
/// When the dialect cannot hold an adapter, two layers have one name in it, or the file exists or
/// cannot be written.
pub fn save(
    path: &Path,
    sites: &[FoundSite],
    adapters: &[(Site, DynAdapter)],
    to: Dialect,
    registry: &Registry,
    overwrite: bool,
) -> Result<(), FileError> {
    let mut modules = BTreeMap::<String, Tensors>::new();
    for (site, adapter) in adapters {
        modules.entry(site.path.clone()).or_default().extend(adapter.write(site));
    }
    let names = names(sites);
    let shape = |key: &str| {
        let found = sites.iter().find(|found| key_of(&found.site.path) == key)?;
        Some(found.site.shape.as_slice())
    };
    let network = Network::of(registry, modules.values()).on(&names, shape);
    // The model's own paths are dotted.
    let file = AdapterFile::new(path, Dialect::Diffusers, modules);
    file.encode(registry, to, Some(&names), &network)?.write(&file.path, overwrite)
}

/// Reads a file of any dialect for a model whose [`sites`](higanbana_adapters::inject::sites()) are
/// these; its names are matched with the model's own. The adapters are on the device, and of the
/// element type, of the weights.
///
/// # Errors
/// When the file cannot be read, nothing in it fits the model, two modules are for one parameter, or
/// tensors contradict each other or the model.
pub fn load(path: &Path, sites: &[FoundSite], registry: &Registry) -> Result<Loaded, ApplyError> {
    let reader = AdapterReader::open(path, registry)?;
    let layers = Layers::of(sites);
    let how =
        ModuleReader { file: &reader, registry, device: &Device::default(), dtype: DType::F32 };
    let mut adapters = Vec::new();
    let placed = how.onto(&layers, |_, _, found| {
        adapters.extend(found.resolved.map(|resolved| (resolved.site, resolved.adapter)));
        Ok(())
    })?;
    Ok(Loaded { adapters, leftovers: placed.leftovers, notes: placed.notes })
}

/// The layers of a model in memory.
struct Layers<'a> {
    names: Names,
    sites: &'a [FoundSite],
}

impl<'a> Layers<'a> {
    fn of(sites: &'a [FoundSite]) -> Self {
        Self { names: names(sites), sites }
    }
}

impl Model for Layers<'_> {
    fn title(&self) -> String {
        "the model".into()
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn parameters(&self, target: &Target) -> Result<Vec<Parameter>, ApplyError> {
        let layer = self.sites.iter().filter(|found| key_of(&found.site.path) == target.weight);
        Ok(layer.map(|found| Parameter::new(&target.weight, found.site.clone())).collect())
    }

    fn value(
        &self,
        _target: &Target,
        parameter: &Parameter,
    ) -> Result<Option<Tensor<2>>, ApplyError> {
        let found = self.sites.iter().find(|found| found.site == parameter.site);
        Ok(found.map(FoundSite::matrix))
    }
}

/// The names of a model's layers, as those of a checkpoint with its paths.
fn names(sites: &[FoundSite]) -> Names {
    Names::new(sites.iter().map(|found| key_of(&found.site.path)))
}

fn key_of(path: &str) -> String {
    format!("{path}.weight")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::{
        module::Module,
        nn,
        tensor::{Device, Distribution, Tensor},
    };
    use higanbana_adapters::{
        inject::{adapters, attach, sites},
        registry,
    };
    use higanbana_core::Budget;
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::Checkpoint;

    #[derive(Module, Debug)]
    struct Net {
        first_one: nn::Linear,
        rest: Vec<nn::Linear>,
        norm: nn::LayerNorm,
    }

    impl Net {
        fn new() -> Self {
            let device = Device::flex();
            let linear = |i, o| nn::LinearConfig::new(i, o).init(&device);
            let norm = nn::LayerNormConfig::new(6).init(&device);
            Self { first_one: linear(4, 8), rest: vec![linear(8, 6), linear(6, 6)], norm }
        }

        fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            let x = self.rest.iter().fold(self.first_one.forward(x), |x, layer| layer.forward(x));
            self.norm.forward(x)
        }
    }

    /// The net with a fitted adapter on everything that one of the algorithms adapts.
    fn adapted(net: &Net, algorithms: &[&str]) -> Net {
        let registry = registry();
        let fitted = sites(net).into_iter().filter_map(|found| {
            let site = found.site;
            let kinds = algorithms.iter().map(|name| registry.get(name).unwrap());
            let kind = kinds.into_iter().find(|kind| kind.sites().contains(&site.kind))?;
            let shape = [site.out(), site.cols()];
            let update = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
            let adapter = kind.fit(&site, &update, Budget::Rank(2)).unwrap().unwrap();
            Some((site, adapter))
        });
        attach(net, "mine", 1.0, fitted.collect()).unwrap()
    }

    fn file() -> (TempDir, PathBuf) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("adapter_model.safetensors");
        (folder, path)
    }

    #[test]
    fn a_model_s_adapters_come_back_from_every_dialect() {
        let x = Tensor::<2>::random([5, 4], Distribution::Normal(0.0, 1.0), &Device::flex());
        for (to, algorithms, name) in [
            (Dialect::Lycoris, &["lora", "full", "norm"][..], "lycoris_rest_1"),
            (Dialect::Kohya, &["lokr", "full", "norm"], "lora_unet_rest_1"),
            (Dialect::Diffusers, &["lora"], "transformer.rest.1"),
            (Dialect::Peft, &["lora"], "base_model.model.rest.1"),
        ] {
            let (_folder, path) = file();
            let base = Net::new();
            let net = adapted(&base, algorithms);
            let own = adapters(&net, "mine").unwrap();
            save(&path, &sites(&base), &own, to, &registry(), false).unwrap();
            let keys = Checkpoint::open(&path).unwrap();
            assert!(keys.names().iter().any(|key| key.starts_with(name)), "{:?}", keys.names());

            let loaded = load(&path, &sites(&base), &registry()).unwrap();
            assert_eq!((loaded.leftovers, loaded.notes), (vec![], vec![]), "{to}");
            assert_eq!(loaded.adapters.len(), own.len(), "{to}");
            let again = attach(&base, "mine", 1.0, loaded.adapters).unwrap();
            assert_eq!(
                again.forward(x.clone()).to_data(),
                net.forward(x.clone()).to_data(),
                "{to}: the same bits"
            );
            assert_ne!(again.forward(x.clone()).to_data(), base.forward(x.clone()).to_data());
        }
    }

    #[test]
    fn files_describe_what_they_hold() {
        let (_folder, path) = file();
        let own = adapters(&adapted(&Net::new(), &["lora", "full"]), "mine").unwrap();
        save(&path, &sites(&Net::new()), &own, Dialect::Kohya, &registry(), false).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let about: Vec<_> = file.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            about[..4],
            [
                ("ss_network_alpha", "2"),
                ("ss_network_args", r#"{"algo":"lora"}"#),
                ("ss_network_dim", "2"),
                ("ss_network_module", "lycoris.kohya"),
            ]
        );
        assert_eq!(about[4].0, "sshs_model_hash");
        assert!(file.info("lora_unet_first_one.alpha").is_some());
    }

    #[test]
    fn what_has_no_place_is_reported() {
        let (_folder, path) = file();
        let own = adapters(&adapted(&Net::new(), &["lora"]), "mine").unwrap();
        save(&path, &sites(&Net::new()), &own, Dialect::Lycoris, &registry(), false).unwrap();
        let part: Vec<_> =
            sites(&Net::new()).into_iter().filter(|it| it.site.path != "rest.0").collect();
        let loaded = load(&path, &part, &registry()).unwrap();
        assert_eq!(loaded.adapters.len(), 2);
        let [left] = &loaded.leftovers[..] else { panic!("{:?}", loaded.leftovers) };
        assert!(
            left.to_string().starts_with("lycoris_rest_0: not in the base; nearest: "),
            "{left}"
        );

        let other = sites(&nn::LinearConfig::new(2, 2).init(&Device::flex()));
        let message = load(&path, &other, &registry()).unwrap_err().to_string();
        assert!(message.contains("none of its 3 modules fits the model: "), "{message}");
    }
}
