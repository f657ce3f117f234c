//! Adapter files: the same tensors under the names of four dialects.
//!
//! | dialect | a module's tensors |
//! |---|---|
//! | LyCORIS | `lycoris_a_b.lora_up.weight`, `lycoris_a_b.alpha` |
//! | kohya | `lora_unet_a_b.lora_up.weight`, `lora_te1_...`, `lora_te2_...` |
//! | diffusers | `unet.a.b.lora_B.weight`, also older spellings; alpha in the metadata |
//! | PEFT | `base_model.model.a.b.lora_B.weight`; alpha in `adapter_config.json` |
//!
//! cloneofsimo/lora's files, which count their pairs, are read as kohya's.
//!
//! Reading gives every module LyCORIS's own tensor names (suffixes), whatever the file calls them.

mod cloneofsimo;
mod config;
mod encode;
mod encoded;
mod key;
mod network;
mod options;
mod origin;
mod peft;
mod reader;
mod rename;
mod rewrite;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use config::config_path;
pub use encoded::Encoded;
pub use higanbana_core::Tensors;
pub(crate) use network::Counted;
pub use network::Network;
pub use reader::AdapterReader;
use rename::{Spot, Translator};

use crate::{
    FileError,
    names::{Names, Target},
};

/// How an adapter file spells its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The general wrapper of LyCORIS: `lycoris_` and the flattened path.
    Lycoris,
    /// kohya's sd-scripts and what follows them: `lora_unet_`, `lora_te_` and the flattened path.
    Kohya,
    /// diffusers: dotted paths, below the pipeline's component.
    Diffusers,
    /// PEFT: dotted paths below `base_model.model.`, with an `adapter_config.json` beside.
    Peft,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lycoris, Self::Kohya, Self::Diffusers, Self::Peft];

    /// Whether its names are flattened, and its files hold whatever LyCORIS's do.
    pub(crate) fn is_flat(self) -> bool {
        matches!(self, Self::Lycoris | Self::Kohya)
    }

    /// As options and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lycoris => "lycoris",
            Self::Kohya => "kohya",
            Self::Diffusers => "diffusers",
            Self::Peft => "peft",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name).ok_or_else(|| {
            format!("no dialect {name:?}; choose {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// What a dialect calls a module of a base; `base` is where that is, for messages.
///
/// # Errors
/// When it has no name for it.
pub fn module_name(
    base: &Path,
    target: &Target,
    names: &Names,
    to: Dialect,
) -> Result<String, FileError> {
    Translator::new(base, names, to).name(&target.weight, Some(&Spot::of(target)))
}

/// A whole adapter file in memory.
#[derive(Debug, Clone)]
pub struct AdapterFile {
    /// Where it was read, or where it is to be written.
    pub path: PathBuf,
    /// How the module names are spelled.
    pub dialect: Dialect,
    /// Each module's tensors, by the module's name in the file.
    pub modules: BTreeMap<String, Tensors>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tensors that are no module's and go where the adapter goes, by their keys: embeddings bundled
    /// with it. diffusers and PEFT have no place for them.
    pub carried: Tensors,
    /// Tensors of the file that belong to no module.
    pub unused: Vec<Unused>,
}

impl AdapterFile {
    /// A file without metadata that holds these modules.
    pub fn new(path: &Path, dialect: Dialect, modules: BTreeMap<String, Tensors>) -> Self {
        let (metadata, carried, unused) = (BTreeMap::new(), Tensors::new(), Vec::new());
        Self { path: path.into(), dialect, modules, metadata, carried, unused }
    }
}

/// Why what is bundled with an adapter is none of its tensors.
const BUNDLED: &str = "an embedding bundled with the adapter, not part of it";

/// Why an alpha is not used.
const LONE_ALPHA: &str = "an alpha without the tensors it scales";

/// A tensor that is no part of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its key.
    pub key: String,
    /// Why it is not used.
    pub reason: &'static str,
}

impl Unused {
    /// Whether it belongs to an embedding that is bundled with the adapter.
    pub fn is_bundled(&self) -> bool {
        self.reason == BUNDLED
    }

    /// Whether it is the alpha of no tensors.
    pub fn scales_nothing(&self) -> bool {
        self.reason == LONE_ALPHA
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.key, self.reason)
    }
}
