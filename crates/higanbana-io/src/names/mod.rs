//! The target's own names: which parameter of a base checkpoint an adapter file means.
//!
//! Flattened names (`lora_unet_down_blocks_0_...`) cannot be split at `_` without guessing. So it
//! is the base's keys that are spelled in every dialect, and a name is looked up among these.

mod error;
mod layout;
mod open_clip;
mod prefix;
mod spelling;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use higanbana_core::nearest;
use serde::Serialize;

pub use error::NameError;
use layout::Layout;
#[cfg(test)]
pub(crate) use prefix::PREFIXES;
pub(crate) use prefix::{Joint, Paths, Prefix, flat, is_original};
pub use spelling::lycoris_name;
pub(crate) use spelling::{PEFT, kohya};
pub use table::Architecture;

/// The model of a base file that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// A diffusion UNet, or a diffusion model of another kind in the UNet's place.
    Unet,
    /// The text encoder, or SDXL's first.
    TextEncoder,
    /// SDXL's second text encoder.
    #[serde(rename = "text_encoder_2")]
    TextEncoder2,
    /// T5, which stands beside CLIP in models of other kinds: SD 3's third text encoder, FLUX's second.
    T5,
    /// The only model of a file of any other kind.
    Model,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unet => "UNet",
            Self::TextEncoder => "text encoder",
            Self::TextEncoder2 => "second text encoder",
            Self::T5 => "T5 text encoder",
            Self::Model => "model",
        })
    }
}

/// One of several equal blocks of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which block.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Part {
    /// The rows of this block among `rows`; none if they cannot be divided.
    pub fn rows(self, rows: usize) -> Option<Range<usize>> {
        let each = rows / self.of;
        rows.is_multiple_of(self.of).then(|| self.index * each..(self.index + 1) * each)
    }
}

/// What a name of an adapter file means in the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Key of the weight.
    pub weight: String,
    /// Key of the bias, if the module has one.
    pub bias: Option<String>,
    /// The rows of weight and bias that are meant; all, if none. OpenCLIP fuses query, key and value.
    pub part: Option<Part>,
    /// Whether the base stores the weight transposed, as OpenCLIP does its projection.
    pub transposed: bool,
    /// The model it belongs to.
    pub component: Component,
    /// The module's path in diffusers and transformers, where it is known.
    pub path: Option<String>,
    /// The module's path in the original UNet, where it is known.
    pub ldm: Option<String>,
}

/// Every name by which an adapter can call the parameters of a base.
#[derive(Debug)]
pub struct Names {
    targets: Vec<Target>,
    index: BTreeMap<String, Vec<usize>>,
    architecture: Option<Architecture>,
}

impl Names {
    /// Builds the index from the base's keys ([`crate::Checkpoint::names`]).
    pub fn new<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> Self {
        let keys: Vec<S> = keys.into_iter().collect();
        let Layout { targets, architecture } =
            Layout::of(&keys.iter().map(AsRef::as_ref).collect());
        let mut index = BTreeMap::<String, Vec<usize>>::new();
        for (i, target) in targets.iter().enumerate() {
            for name in spelling::spellings(target) {
                let answers = index.entry(name).or_default();
                if !answers.contains(&i) {
                    answers.push(i);
                }
            }
        }
        Self { targets, index, architecture }
    }

    /// The names of a published architecture and its text encoders, for files without their base.
    pub fn of(architecture: Architecture) -> Self {
        let mut keys = BTreeSet::new();
        keys.extend(architecture.unet_modules().map(|(path, _)| format!("unet.{path}.weight")));
        let encoders: &[(&str, usize)] = match architecture {
            Architecture::Sd => &[("text_encoder", 24)],
            Architecture::Sdxl => &[("text_encoder", 12), ("text_encoder_2", 32)],
        };
        for (encoder, layers) in encoders {
            for (layer, module) in (0..*layers).flat_map(|l| TEXT_MODULES.map(|m| (l, m))) {
                keys.insert(format!("{encoder}.text_model.encoder.layers.{layer}.{module}.weight"));
            }
        }
        if architecture == Architecture::Sdxl {
            keys.insert("text_encoder_2.text_projection.weight".into());
        }
        Self::new(keys)
    }

    /// The parameter that `name` means; none if the base has no such name.
    ///
    /// # Errors
    /// When it could mean two.
    pub fn find(&self, name: &str) -> Result<Option<&Target>, NameError> {
        match self.index.get(name).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([only]) => Ok(Some(&self.targets[*only])),
            Some([first, second, ..]) => Err(NameError::Ambiguous {
                first: self.targets[*first].weight.clone(),
                second: self.targets[*second].weight.clone(),
            }),
        }
    }

    /// The parameter that `name` means.
    ///
    /// # Errors
    /// When it could mean two, or means none.
    pub fn expect(&self, name: &str) -> Result<&Target, NameError> {
        self.find(name)?.ok_or_else(|| self.unmatched(name, true))
    }

    /// Why `name` means nothing: it is of a model that the base lacks, or of none. To look for
    /// `similar` names is to compare with every name there is.
    pub(crate) fn unmatched(&self, name: &str, similar: bool) -> NameError {
        // What adapters of a model of another kind call its UNet is that model.
        let other = |it| it == Component::Unet && self.has(Component::Model);
        match spelling::component(name).filter(|it| !self.has(*it) && !other(*it)) {
            Some(component) => NameError::Elsewhere { component },
            None => {
                let nearest = if similar { self.nearest(name) } else { Vec::new() };
                NameError::Unmatched { is_told: Prefix::split(name).is_some(), nearest }
            }
        }
    }

    /// The three most similar names, as text of one line.
    fn nearest(&self, name: &str) -> Vec<String> {
        let nearest = nearest(name, self.index.keys().map(String::as_str), 3);
        nearest.iter().map(|name| name.escape_debug().to_string()).collect()
    }

    /// Everything that can be named, in the order of the keys.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The published UNet that the base's is: every module of it, and no other.
    pub fn architecture(&self) -> Option<Architecture> {
        self.architecture
    }

    /// The same names, of a UNet that need not be the published one.
    pub(crate) fn of_any(self) -> Self {
        Self { architecture: None, ..self }
    }

    /// Whether the base is a file of one model alone.
    pub fn is_of_one_model(&self) -> bool {
        let first = self.targets.first().map(|target| target.component);
        self.targets.iter().all(|target| Some(target.component) == first)
    }

    /// Whether the base has the model.
    pub fn has(&self, component: Component) -> bool {
        self.targets.iter().any(|target| target.component == component)
    }
}

/// The modules of a layer of CLIP's text encoder.
const TEXT_MODULES: [&str; 8] = [
    "layer_norm1",
    "layer_norm2",
    "mlp.fc1",
    "mlp.fc2",
    "self_attn.k_proj",
    "self_attn.out_proj",
    "self_attn.q_proj",
    "self_attn.v_proj",
];
