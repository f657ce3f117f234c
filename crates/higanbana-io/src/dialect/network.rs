//! The metadata by which kohya's and LyCORIS's files describe themselves.

use std::{collections::BTreeMap, path::Path};

use higanbana_core::{Arguments, Kind, Registry, Tensors};
use serde_json::{Map, Value};

use crate::{FileError, Names, Target, apply::of_weight, names::Component};

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
            let alpha = alpha.filter(|alpha| alpha.is_finite());
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
    parsed(metadata).flatten().unwrap_or_default()
}

/// The same of the file at `path`, and what there is to say of them.
///
/// # Errors
/// When a switch that is read is neither on nor off.
pub(super) fn said(
    path: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<(Arguments, Option<String>), FileError> {
    let unread = matches!(parsed(metadata), Some(None));
    let note = format!("{}: {ARGS} is no JSON object, and nothing of it is read", path.display());
    let arguments = arguments(metadata);
    match arguments.get(STABILISED) {
        Some(value) if !["true", "false"].iter().any(|it| value.eq_ignore_ascii_case(it)) => {
            let reason = format!(
                "{ARGS}: {STABILISED} is {value:?}, neither true nor false; save the adapter again"
            );
            Err(FileError::Config { path: path.into(), reason })
        }
        _ => Ok((arguments, unread.then_some(note))),
    }
}

/// The entry of the metadata, if there is one, and what it says, if it is an object.
fn parsed(metadata: &BTreeMap<String, String>) -> Option<Option<Arguments>> {
    let text = metadata.get(ARGS)?;
    let parsed: Option<Option<Map<String, Value>>> = serde_json::from_str(text).ok();
    let text = |value: Value| value.as_str().map_or(value.to_string(), String::from);
    // Scripts write `null` where there are none.
    let arguments = parsed.map(Option::unwrap_or_default);
    Some(arguments.map(|it| it.into_iter().map(|(name, value)| (name, text(value))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_told_of() {
        let of = |text: &str| {
            let metadata = BTreeMap::from([(ARGS.to_string(), text.to_string())]);
            said("f".as_ref(), &metadata).map_err(|error| error.to_string())
        };
        for (text, expected) in
            [("true", "true"), ("false", "false"), ("\"True\"", "True"), ("\"FALSE\"", "FALSE")]
        {
            let (arguments, note) = of(&format!("{{\"rs_lora\": {text}}}")).unwrap();
            assert_eq!((arguments["rs_lora"].as_str(), note), (expected, None));
        }
        for text in ["\"yes\"", "1", "null", "[true]"] {
            let error = of(&format!("{{\"rs_lora\": {text}}}")).unwrap_err();
            assert!(error.starts_with("f: ss_network_args: rs_lora is \""), "{error}");
            assert!(error.contains(", neither true nor false;"), "{error}");
        }
        assert_eq!(of("null"), Ok((Arguments::new(), None)));
        for text in ["", "[]", "rs_lora=True", "{"] {
            let note = of(text).unwrap().1.unwrap();
            assert_eq!(note, "f: ss_network_args is no JSON object, and nothing of it is read");
        }
    }
}
