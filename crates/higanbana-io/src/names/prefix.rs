//! The prefixes that adapter files put before the names of modules, one row each. A program's own
//! spelling is read once its prefix is here.

use super::Component;

/// What a prefix tells of the module that is named behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The prefix itself.
    pub text: &'static str,
    /// The model that it names; none where it leaves that open.
    pub model: Option<Component>,
    /// What parts the steps of the path.
    pub joint: Joint,
    /// Whose path it is.
    pub paths: Paths,
}

/// What stands between two steps of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// `a.b`.
    Dot,
    /// `a_b`: where the dots were cannot be told.
    Underscore,
}

/// Whose names the modules have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Those of diffusers and transformers.
    Diffusers,
    /// Those of the code that a model was published with.
    Original,
    /// Either's.
    Either,
}

use Component::{Model, T5, TextEncoder, TextEncoder2, Unet};
use Joint::{Dot, Underscore};
use Paths::{Diffusers, Either, Original};

/// All of them, and who writes each. The longest that fits a name counts.
#[rustfmt::skip]
pub(crate) const PREFIXES: &[Prefix] = &[
    row("lycoris_",                         None,               Underscore, Either),    // LyCORIS, SimpleTuner
    row("lora_unet_",                       Some(Unet),         Underscore, Either),    // kohya
    row("oft_unet_",                        Some(Unet),         Underscore, Either),    // kohya's rotations
    row("lora_te_",                         Some(TextEncoder),  Underscore, Diffusers), // kohya, of SD 1 and 2
    row("lora_te1_",                        Some(TextEncoder),  Underscore, Diffusers), // kohya, of SDXL
    row("lora_te2_",                        Some(TextEncoder2), Underscore, Diffusers), // kohya, of SDXL
    row("lora_te3_",                        Some(T5),           Underscore, Diffusers), // kohya and OneTrainer, of SD 3 and FLUX
    row("lora_transformer_",                Some(Model),        Underscore, Diffusers), // OneTrainer
    row("base_model.model.",                None,               Dot,        Either),    // PEFT
    row("transformer.base_model.model.",    Some(Model),        Dot,        Diffusers), // PEFT saved by diffusers' scripts
    row("unet.",                            Some(Unet),         Dot,        Diffusers), // diffusers
    row("transformer.",                     Some(Model),        Dot,        Diffusers), // diffusers
    row("text_encoder.",                    Some(TextEncoder),  Dot,        Diffusers), // diffusers
    row("text_encoder_2.",                  Some(TextEncoder2), Dot,        Diffusers), // diffusers
    row("text_encoder_3.",                  Some(T5),           Dot,        Diffusers), // diffusers, of SD 3
    row("diffusion_model.",                 Some(Unet),         Dot,        Original),  // ComfyUI, ai-toolkit
    row("text_encoders.clip_l.transformer.", Some(TextEncoder), Dot,        Diffusers), // ComfyUI
    row("text_encoders.clip_h.transformer.", Some(TextEncoder), Dot,        Diffusers), // ComfyUI, of SD 2
    row("text_encoders.clip_g.transformer.", Some(TextEncoder2), Dot,       Diffusers), // ComfyUI
    row("text_encoders.t5xxl.transformer.", Some(T5),           Dot,        Diffusers), // ComfyUI
    row("clip_l.transformer.",              Some(TextEncoder),  Dot,        Diffusers), // ComfyUI, text alone
    row("clip_h.transformer.",              Some(TextEncoder),  Dot,        Diffusers), // ComfyUI, text alone
    row("clip_g.transformer.",              Some(TextEncoder2), Dot,        Diffusers), // ComfyUI, text alone
    row("t5xxl.transformer.",               Some(T5),           Dot,        Diffusers), // ComfyUI, text alone
    row("clip_l.",                          Some(TextEncoder),  Dot,        Diffusers),
    row("clip_g.",                          Some(TextEncoder2), Dot,        Diffusers),
    row("",                                 None,               Dot,        Either),    // the model's own path
];

const fn row(text: &'static str, model: Option<Component>, joint: Joint, paths: Paths) -> Prefix {
    Prefix { text, model, joint, paths }
}

/// First steps of paths that only original diffusion models have: the UNet, then transformers.
pub(super) const ORIGINAL: [&str; 6] = [
    "input_blocks.",
    "middle_block.",
    "output_blocks.",
    "double_blocks.",
    "single_blocks.",
    "joint_blocks.",
];

impl Prefix {
    /// The prefix of a name, and what stands behind it; none of a flattened name that begins otherwise.
    pub fn split(name: &str) -> Option<(&'static Self, &str)> {
        let fits = |row: &&Self| name.starts_with(row.text);
        // A name without dots is no path: only of a module at the root of its model.
        let longest = PREFIXES.iter().filter(fits).max_by_key(|row| row.text.len())?;
        let is_told = !longest.text.is_empty() || name.contains('.');
        is_told.then(|| (longest, &name[longest.text.len()..]))
    }

    /// Whether modules of this model are named with it. What the field calls a UNet may be a model of
    /// any other kind.
    pub fn is_of(&self, component: Component) -> bool {
        match self.model {
            None => true,
            Some(Unet) => matches!(component, Unet | Model),
            Some(model) => model == component,
        }
    }

    /// A path as it stands behind the prefix.
    pub fn name(&self, path: &str) -> String {
        match self.joint {
            Dot => format!("{}{path}", self.text),
            Underscore => format!("{}{}", self.text, flat(path)),
        }
    }
}

/// Whether a path is one of the code that a model was published with.
pub(crate) fn is_original(path: &str) -> bool {
    ORIGINAL.iter().any(|step| path.starts_with(step))
}

/// A path as flattened names have it.
pub(crate) fn flat(path: &str) -> String {
    path.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts() {
        for (name, prefix, path) in [
            ("lora_te2_text_projection", "lora_te2_", "text_projection"),
            ("lora_te_text_model_x", "lora_te_", "text_model_x"),
            ("text_encoders.clip_g.transformer.a.b", "text_encoders.clip_g.transformer.", "a.b"),
            ("clip_l.a.b", "clip_l.", "a.b"),
            ("lora_te3_encoder_x", "lora_te3_", "encoder_x"),
            ("down_blocks.0.x", "", "down_blocks.0.x"),
        ] {
            let (row, rest) = Prefix::split(name).unwrap();
            assert_eq!((row.text, rest), (prefix, path));
        }
        for name in ["down_blocks_0_x", "lora_x", ""] {
            assert_eq!(Prefix::split(name), None, "{name}");
        }
    }

    #[test]
    fn no_prefix_is_there_twice() {
        for (index, row) in PREFIXES.iter().enumerate() {
            assert!(PREFIXES[..index].iter().all(|other| other.text != row.text), "{}", row.text);
        }
    }
}
