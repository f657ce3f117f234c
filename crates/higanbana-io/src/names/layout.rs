//! Which models a base checkpoint holds, told by its keys.

use std::collections::BTreeSet;

use super::{
    Component, Target, open_clip,
    prefix::ORIGINAL,
    table::{Architecture, Twins},
};

/// Prefixes under which a file keeps its models. The first that fits a key counts.
const PREFIXES: [(&str, Component); 14] = [
    ("model.diffusion_model.", Component::Unet),
    ("diffusion_model.", Component::Unet),
    ("unet.", Component::Unet),
    ("cond_stage_model.", Component::TextEncoder),
    ("conditioner.embedders.0.", Component::TextEncoder),
    ("conditioner.embedders.1.", Component::TextEncoder2),
    ("text_encoder.", Component::TextEncoder),
    ("text_encoder_2.", Component::TextEncoder2),
    ("text_encoders.clip_l.", Component::TextEncoder),
    ("text_encoders.clip_h.", Component::TextEncoder),
    ("text_encoders.clip_g.", Component::TextEncoder2),
    ("clip_l.", Component::TextEncoder),
    ("clip_h.", Component::TextEncoder),
    ("clip_g.", Component::TextEncoder2),
];

/// First path elements that only a UNet has in diffusers.
const UNET_DIFFUSERS: [&str; 3] = ["down_blocks.", "mid_block.", "up_blocks."];

/// First path elements of CLIP's text encoder without its outermost module, which transformers 5 drops
/// where it saves one.
const TEXT: [&str; 3] = ["encoder.layers.", "embeddings.", "final_layer_norm."];

/// The parameters of a base that adapters can name.
pub(super) struct Layout {
    pub targets: Vec<Target>,
    pub architecture: Option<Architecture>,
}

impl Layout {
    pub fn of(keys: &BTreeSet<&str>) -> Self {
        let bare = bare_component(keys);
        let place = |key: &'_ str| {
            let prefixed = PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix));
            prefixed.copied().unwrap_or(("", bare))
        };
        let unet: BTreeSet<&str> = keys
            .iter()
            .filter(|key| place(key).1 == Component::Unet)
            .filter_map(|key| key[place(key).0.len()..].strip_suffix(".weight"))
            .collect();
        let ldm = begins(&unet, &ORIGINAL);
        let twins = Twins::of(&unet, ldm);

        let targets = keys.iter().flat_map(|key| {
            let (prefix, component) = place(key);
            let local = &key[prefix.len()..];
            match component {
                Component::Unet => unet_target(key, local, ldm, &twins),
                Component::TextEncoder | Component::TextEncoder2 => {
                    text_targets(key, local, component)
                }
                Component::T5 | Component::Model => plain(key, local, component),
            }
        });
        let mut targets: Vec<Target> = targets.collect();
        for target in &mut targets {
            let bias = match target.weight.strip_suffix("in_proj_weight") {
                Some(attention) => Some(format!("{attention}in_proj_bias")),
                None => target.weight.strip_suffix("weight").map(|path| format!("{path}bias")),
            };
            target.bias = bias.filter(|bias| keys.contains(bias.as_str()));
        }
        Self { targets, architecture: twins.architecture() }
    }
}

/// What a file without prefixes is.
fn bare_component(keys: &BTreeSet<&str>) -> Component {
    if begins(keys, &UNET_DIFFUSERS) || begins(keys, &ORIGINAL) {
        return Component::Unet;
    }
    // Other encoders of such layers have no norm at the root, or no embedding of tokens.
    let root = ["final_layer_norm.weight", "embeddings.token_embedding.weight"];
    let is_short = begins(keys, &TEXT[..1]) && root.iter().any(|key| keys.contains(key));
    let text = is_short || begins(keys, &["text_model."]);
    // Only SDXL's second text encoder projects its pooled output.
    if text && keys.contains("text_projection.weight") {
        Component::TextEncoder2
    } else if text {
        Component::TextEncoder
    } else {
        Component::Model
    }
}

fn begins(keys: &BTreeSet<&str>, prefixes: &[&str]) -> bool {
    keys.iter().any(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
}

fn plain(key: &str, local: &str, component: Component) -> Vec<Target> {
    let path = local.strip_suffix(".weight").map(String::from);
    path.map(|path| Target::new(key, component, Some(path))).into_iter().collect()
}

fn unet_target(key: &str, local: &str, ldm: bool, twins: &Twins) -> Vec<Target> {
    let Some(module) = local.strip_suffix(".weight") else { return vec![] };
    let twin = twins.get(module).map(String::from);
    let mut target = Target::new(key, Component::Unet, None);
    (target.path, target.ldm) =
        if ldm { (twin, Some(module.into())) } else { (Some(module.into()), twin) };
    vec![target]
}

fn text_targets(key: &str, local: &str, component: Component) -> Vec<Target> {
    // Single files keep the library's own wrapper: `transformer.` of Hugging Face, `model.` of OpenCLIP.
    if let Some(open) = local.strip_prefix("model.") {
        // Of the others, no program has the projection.
        let is_held =
            |it: &open_clip::Inside| !it.transposed || component == Component::TextEncoder2;
        let inside = open_clip::weights(open).into_iter().filter(is_held);
        return inside
            .map(|inside| {
                let mut target = Target::new(key, component, Some(inside.module));
                (target.part, target.transposed) = (inside.part, inside.transposed);
                target
            })
            .collect();
    }
    let path = local.strip_prefix("transformer.").unwrap_or(local);
    let is_short = TEXT.iter().any(|begin| path.starts_with(begin));
    let whole = if is_short { format!("text_model.{path}") } else { path.into() };
    plain(key, &whole, component)
}

impl Target {
    fn new(weight: &str, component: Component, path: Option<String>) -> Self {
        let (bias, part, ldm) = (None, None, None);
        Self { weight: weight.into(), bias, part, transposed: false, component, path, ldm }
    }
}
