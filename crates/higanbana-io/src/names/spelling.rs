//! Every name by which an adapter file may call a parameter of the base.

use super::{
    Component, Target,
    prefix::{PREFIXES, Prefix, flat},
};

/// kohya's prefixes of flattened names.
pub(crate) mod kohya {
    /// What all of them begin with.
    pub const ANY: &str = "lora_";
    pub const UNET: &str = "lora_unet_";
    pub const TEXT_ENCODER: &str = "lora_te_";
    pub const TEXT_ENCODER_1: &str = "lora_te1_";
    pub const TEXT_ENCODER_2: &str = "lora_te2_";
}

/// PEFT wraps a model twice.
pub(crate) const PEFT: &str = "base_model.model.";

/// All names of a target. The base's own path answers to every dialect that adds nothing of its
/// own; the paths within each model answer to that model's prefixes.
pub(super) fn spellings(target: &Target) -> Vec<String> {
    let own = target.weight.strip_suffix(".weight").unwrap_or(&target.weight);
    let mut names = Vec::new();
    if target.part.is_none() {
        names.extend([own.to_string(), format!("{PEFT}{own}"), lycoris_name(own)]);
    }
    // Newer releases of transformers drop the text encoder's outermost `text_model`.
    let short = target.path.as_deref().and_then(|path| path.strip_prefix("text_model."));
    for path in [target.path.as_deref(), target.ldm.as_deref(), short].into_iter().flatten() {
        let prefixes = PREFIXES.iter().filter(|prefix| prefix.is_of(target.component));
        names.extend(prefixes.map(|prefix| prefix.name(path)));
    }
    names
}

/// The model that a name's prefix tells.
pub(super) fn component(name: &str) -> Option<Component> {
    Prefix::split(name)?.0.model.filter(|model| *model != Component::Model)
}

/// What LyCORIS's own dialect calls the layer at a path: `a.b` is `lycoris_a_b`.
pub fn lycoris_name(path: &str) -> String {
    format!("lycoris_{}", flat(path))
}
