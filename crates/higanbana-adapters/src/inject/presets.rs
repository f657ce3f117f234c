//! Selections as data: LyCORIS's own presets, and files of one's own in the same form.
//!
//! Differences from LyCORIS 4.1.3: its names speak of the root of a model only, ours (`**.conv_in`)
//! of any depth, so that a preset also works on a model inside another, and `ia3` selects what it
//! means to (there it matches nothing in a UNet); `attn-only` also names the class that attention has
//! in diffusers, `Attention`, without which it selects nothing there; a preset keeps no state.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InjectError, Rule};

/// Rules under a name. Those without an algorithm take the injection's.
///
/// ```toml
/// about = "Cross attention, with a larger rank in the middle block."
///
/// [[rules]]
/// paths = ["**.attn2.*", "**.attn2.to_out.0"]
///
/// [[rules]]
/// paths = ["mid_block.**.attn2.*"]
/// options = { rank = 32 }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it selects, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of the built-in presets.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("presets/", $name, ".toml")))),*];
    };
}

built_in![
    "full",
    "full-lin",
    "attn-mlp",
    "attn-only",
    "unet-only",
    "unet-transformer-only",
    "unet-convblock-only",
    "ia3",
];

impl Preset {
    /// Names of the built-in presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A built-in preset.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn built_in(name: &str) -> Result<Self, InjectError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(InjectError::Preset {
                name: name.into(),
                known: Self::names().map(String::from).collect(),
            }),
        }
    }

    /// Reads a preset from TOML; `name` is for messages.
    ///
    /// # Errors
    /// When it is not TOML, has a field that presets do not have, or a pattern that cannot be read.
    pub fn parse(name: &str, text: &str) -> Result<Self, InjectError> {
        toml::from_str(text).map_err(|error| InjectError::Syntax {
            name: name.into(),
            line: 1 + text[..error.span().map_or(0, |span| span.start)].matches('\n').count(),
            reason: error.message().replace('\n', " "),
        })
    }
}

impl FromStr for Preset {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        Self::parse("(inline)", text)
    }
}
