//! Every name by which an adapter file may call a parameter of the base.

use super::{Component, Target};

/// kohya's prefixes of flattened names.
pub(crate) mod kohya {
    /// What all of them begin with.
    pub const ANY: &str = "lora_";
    pub const UNET: &str = "lora_unet_";
    pub const TEXT_ENCODER: &str = "lora_te_";
    pub const TEXT_ENCODER_1: &str = "lora_te1_";
    pub const TEXT_ENCODER_2: &str = "lora_te2_";
}

/// Prefixes of flattened names (`a.b` as `a_b`): LyCORIS's own, and kohya's for each model.
fn flat_prefixes(component: Component) -> &'static [&'static str] {
    match component {
        Component::Unet | Component::Model => &["lycoris_", kohya::UNET],
        Component::TextEncoder => &["lycoris_", kohya::TEXT_ENCODER, kohya::TEXT_ENCODER_1],
        Component::TextEncoder2 => &["lycoris_", kohya::TEXT_ENCODER_2],
    }
}

/// Prefixes of dotted names: none, PEFT's, diffusers' for each model, ComfyUI's.
fn dotted_prefixes(component: Component) -> &'static [&'static str] {
    match component {
        Component::Unet => &["", PEFT, "unet.", "diffusion_model."],
        Component::Model => &["", PEFT, "unet.", "transformer.", "diffusion_model."],
        Component::TextEncoder => &["", PEFT, "text_encoder."],
        Component::TextEncoder2 => &["", PEFT, "text_encoder_2."],
    }
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
        let flat = flat(path);
        names.extend(dotted_prefixes(target.component).iter().map(|p| format!("{p}{path}")));
        names.extend(flat_prefixes(target.component).iter().map(|p| format!("{p}{flat}")));
    }
    names
}

/// The model that a name's prefix tells; the first prefixes of each are those of all.
pub(super) fn component(name: &str) -> Option<Component> {
    [Component::Unet, Component::TextEncoder, Component::TextEncoder2].into_iter().find(|it| {
        let own = flat_prefixes(*it)[1..].iter().chain(&dotted_prefixes(*it)[2..]);
        own.into_iter().any(|prefix| name.starts_with(prefix))
    })
}

/// What LyCORIS's own dialect calls the layer at a path: `a.b` is `lycoris_a_b`.
pub fn lycoris_name(path: &str) -> String {
    format!("lycoris_{}", flat(path))
}

/// A path as flattened names have it.
pub(crate) fn flat(path: &str) -> String {
    path.replace('.', "_")
}
