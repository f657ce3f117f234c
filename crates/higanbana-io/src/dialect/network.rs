//! The metadata by which kohya's and LyCORIS's files describe themselves.

use std::collections::BTreeMap;

use higanbana_core::{Arguments, Kind, Registry, Tensors};

use crate::{Names, Target, apply::of_weight, names::Component};

/// How an adapter was made, as `ss_...` metadata tell it. What is none is left as the file has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Rank (`ss_network_dim`).
    pub dim: Option<usize>,
    /// Alpha (`ss_network_alpha`).
    pub alpha: Option<f64>,
    /// The algorithm and its options as LyCORIS calls them (`ss_network_args`, a JSON object of
    /// strings, and `ss_network_module`).
    pub args: Option<Arguments>,
    /// The base's family, such as `sd_v1` or `sdxl_base_v1-0` (`ss_base_model_version`).
    pub base_model_version: Option<String>,
}

/// One module, as the metadata count it.
pub(crate) struct Counted<'a> {
    /// Its algorithm.
    pub kind: &'a Kind,
    /// Its rank, if it has one.
    pub rank: Option<usize>,
    /// Its alpha; the rank if it has none.
    pub alpha: Option<f64>,
}

const MODULE: &str = "ss_network_module";
const DIM: &str = "ss_network_dim";
const ALPHA: &str = "ss_network_alpha";
const ARGS: &str = "ss_network_args";
const BASE: &str = "ss_base_model_version";
/// The argument under which alpha may be over the root of the rank.
const STABILISED: &str = "rs_lora";

impl Network {
    /// Of a file with these modules.
    pub fn of<'t>(registry: &Registry, modules: impl IntoIterator<Item = &'t Tensors>) -> Self {
        Self::counting(modules.into_iter().filter_map(|tensors| {
            let (at, kind) = of_weight(registry, tensors)?;
            let alpha = tensors.get("alpha").and_then(|alpha| alpha.iter::<f64>().next());
            Some(Counted { kind, rank: kind.outline(at, tensors).rank, alpha })
        }))
    }

    /// The largest rank, alpha where it is, and the algorithm that most modules have.
    pub(crate) fn counting<'m>(modules: impl IntoIterator<Item = Counted<'m>>) -> Self {
        let mut network = Self::default();
        let mut counts = BTreeMap::<&str, (usize, &Kind)>::new();
        for Counted { kind, rank, alpha } in modules {
            counts.entry(kind.name()).or_insert((0, kind)).0 += 1;
            if rank > network.dim {
                network.dim = rank;
                network.alpha = alpha.or(rank.map(|rank| rank as f64));
            }
        }
        match counts.into_values().max_by_key(|(count, _)| *count) {
            None => network,
            Some((_, most)) => network.called(most),
        }
    }

    /// Of an algorithm that the tensors do not tell.
    #[must_use]
    pub(crate) fn called(self, kind: &Kind) -> Self {
        let args =
            kind.arguments().iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Self { args: Some(args.collect()), ..self }
    }

    /// With what the arguments of a file say of how its alphas are meant.
    #[must_use]
    pub(crate) fn scaled_as(mut self, arguments: &Arguments) -> Self {
        if let (Some(own), Some(said)) = (&mut self.args, arguments.get(STABILISED)) {
            own.insert(STABILISED.into(), said.clone());
        }
        self
    }

    /// With the base's family, where the width of the text that its UNet attends to tells; `shape`
    /// gives that of a weight.
    #[must_use]
    pub fn on<'s>(mut self, names: &Names, shape: impl Fn(&str) -> Option<&'s [usize]>) -> Self {
        let attends = |target: &&Target| {
            target.component == Component::Unet && target.weight.ends_with("attn2.to_k.weight")
        };
        let target = names.targets().iter().find(attends);
        let version = match target.and_then(|target| shape(&target.weight)) {
            Some([_, 768]) => "sd_v1",
            Some([_, 1024]) => "sd_v2",
            Some([_, 2048]) => "sdxl_base_v1-0",
            _ => return self,
        };
        self.base_model_version = Some(version.into());
        self
    }

    /// Without what a file says of itself already. The arguments are those of its network module: a
    /// file that names one keeps both.
    #[must_use]
    pub fn unless_said(self, metadata: &BTreeMap<String, String>) -> Self {
        let unsaid = |key: &str| !metadata.contains_key(key);
        Self {
            dim: self.dim.filter(|_| unsaid(DIM)),
            alpha: self.alpha.filter(|_| unsaid(ALPHA)),
            args: self.args.filter(|_| unsaid(MODULE) && unsaid(ARGS)),
            base_model_version: self.base_model_version.filter(|_| unsaid(BASE)),
        }
    }

    /// Writes itself into a file's metadata. All values are strings there.
    pub fn describe(&self, metadata: &mut BTreeMap<String, String>) {
        // Arguments that stay are those of the module that stays.
        let stays = self.args.is_none() && metadata.contains_key(MODULE);
        let mut set = |key: &str, value: Option<String>| {
            metadata.extend(value.map(|value| (key.to_string(), value)));
        };
        set(MODULE, (!stays).then(|| "lycoris.kohya".into()));
        set(DIM, self.dim.map(|dim| dim.to_string()));
        set(ALPHA, self.alpha.map(|alpha| alpha.to_string()));
        set(ARGS, self.args.as_ref().map(|args| serde_json::json!(args).to_string()));
        set(BASE, self.base_model_version.clone());
    }
}

/// Whether an entry of the metadata tells the scale of updates.
pub(super) fn is_scale(key: &str) -> bool {
    key == ALPHA
}

/// The arguments that a file's metadata keep; none where they keep none.
pub(super) fn arguments(metadata: &BTreeMap<String, String>) -> Arguments {
    let parsed = metadata.get(ARGS).and_then(|text| serde_json::from_str(text).ok());
    let parsed: serde_json::Map<String, serde_json::Value> = parsed.unwrap_or_default();
    let text = |value: serde_json::Value| value.as_str().map_or(value.to_string(), String::from);
    parsed.into_iter().map(|(name, value)| (name, text(value))).collect()
}
