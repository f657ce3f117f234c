//! A key of an adapter file: which module, and which tensor of it in LyCORIS's words.

use std::collections::BTreeSet;

use higanbana_core::Registry;

use super::{BUNDLED, peft::Form};

/// The names that a registry's algorithms give their tensors.
pub(super) struct Keys {
    /// Without `.weight`. What belongs to no algorithm of its own, `alpha`, is among them.
    stems: BTreeSet<&'static str>,
    /// As PEFT and diffusers have them.
    pub forms: Vec<Form>,
}

/// A key, taken apart.
#[derive(Debug)]
pub(super) struct Key {
    pub module: String,
    pub suffix: String,
    /// The form in whose spelling it is.
    pub form: Option<Form>,
}

impl Keys {
    pub fn of(registry: &Registry) -> Self {
        let keys = registry.iter().flat_map(|kind| kind.keys()).chain(&["alpha"]);
        Self {
            stems: keys.map(|key| stem(key)).collect(),
            forms: registry.iter().filter_map(|kind| kind.peft()).collect(),
        }
    }

    /// Finds the place of a key.
    ///
    /// # Errors
    /// Why the key has none.
    pub fn place(&self, key: &str) -> Result<Key, &'static str> {
        if key.starts_with("bundle_emb.") {
            return Err(BUNDLED);
        }
        // Names go into messages of one line.
        if key.contains(char::is_control) {
            return Err("a name with control characters, which no module has");
        }
        let parts: Vec<&str> = key.split('.').collect();
        // A name may be followed by an adapter's name and `weight`.
        for at in (1..parts.len()).rev().take(3) {
            for form in &self.forms {
                let Some((suffix, own)) = foreign(*form, &parts[at..])? else { continue };
                let module = foreign_module(&parts[..at], own);
                return Ok(Key { module, suffix: suffix.into(), form: Some(*form) });
            }
        }
        let (module, suffix) =
            self.split(key).ok_or("no tensor of a known adapter is called so")?;
        Ok(Key { module: module.into(), suffix: suffix.into(), form: None })
    }

    /// Splits `key` before a known tensor name, at the first dot where that can be done. Flattened
    /// module names hold no dot, dotted ones end where a tensor's name begins.
    fn split<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        key.match_indices('.')
            .map(|(dot, _)| (&key[..dot], &key[dot + 1..]))
            .find(|(module, suffix)| !module.is_empty() && self.stems.contains(stem(suffix)))
    }
}

fn stem(key: &str) -> &str {
    key.strip_suffix(".weight").unwrap_or(key)
}

/// The tensor that these parts of a key name, and the last part of the module where the name has
/// swallowed it (`to_q_lora`).
fn foreign<'a>(
    form: Form,
    parts: &[&'a str],
) -> Result<Option<(&'static str, Option<&'a str>)>, &'static str> {
    if let Some((_, why)) = form.unread().iter().find(|(name, _)| after(name, parts).is_some()) {
        return Err(why);
    }
    for (name, ours) in form.names() {
        match after(name, parts) {
            Some((own, [.., "bias"])) => match form.bias() {
                Some((of, key)) if of == *ours => return Ok(Some((key, own))),
                _ => return Err("a bias of the adapter's own, which is not supported"),
            },
            Some((own, [] | [_] | [_, "weight"])) => return Ok(Some((ours, own))),
            _ => (),
        }
    }
    Ok(None)
}

/// What stands behind a name, and in front of one that begins with `_`.
fn after<'a, 'p>(name: &'a str, parts: &'p [&'a str]) -> Option<(Option<&'a str>, &'p [&'a str])> {
    let (first, rest) = parts.split_first()?;
    let mut name = stem(name).split('.');
    let begin = name.next()?;
    let own = if begin.starts_with('_') { Some(first.strip_suffix(begin)?) } else { None };
    if own.is_none() && *first != begin {
        return None;
    }
    Some((own, rest.strip_prefix(&name.collect::<Vec<_>>()[..])?))
}

/// The module's path: without the attention processors of old releases, which kept their layers
/// under the names of a UNet even in text encoders.
fn foreign_module(path: &[&str], own: Option<&str>) -> String {
    let mut path: Vec<&str> = path.iter().copied().filter(|&s| s != "processor").collect();
    let text = path.last() == Some(&"self_attn");
    match own {
        Some("to_q") if text => path.push("q_proj"),
        Some("to_k") if text => path.push("k_proj"),
        Some("to_v") if text => path.push("v_proj"),
        Some("to_out") if text => path.push("out_proj"),
        Some("to_out") => path.extend(["to_out", "0"]),
        own => path.extend(own),
    }
    path.join(".")
}

#[cfg(test)]
mod tests {
    use higanbana_adapters::registry;

    use super::*;

    const DOWN: &str = "lora_down.weight";
    const UP: &str = "lora_up.weight";

    fn placed(key: &str) -> (String, String) {
        let Key { module, suffix, .. } = Keys::of(&registry()).place(key).unwrap();
        (module, suffix)
    }

    #[test]
    fn every_spelling_has_its_place() {
        const Q: &str = "unet.down_blocks.0.attn1.to_q";
        const OUT: &str = "unet.down_blocks.0.attn1.to_out.0";
        for (key, module, suffix) in [
            ("lycoris_a_b.lora_up.weight", "lycoris_a_b", UP),
            ("lora_unet_a.lora_down.weight", "lora_unet_a", DOWN),
            ("lora_unet_a.alpha", "lora_unet_a", "alpha"),
            ("lycoris_a.diff", "lycoris_a", "diff"),
            ("a.b.diff", "a.b", "diff"),
            ("lycoris_a.weight", "lycoris_a", "weight"),
            ("unet.down_blocks.0.attn1.to_q.lora_A.weight", Q, DOWN),
            ("unet.down_blocks.0.attn1.to_q.lora_B", Q, UP),
            ("unet.down_blocks.0.attn1.to_q.lora.down.weight", Q, DOWN),
            ("unet.down_blocks.0.attn1.to_q.alpha", Q, "alpha"),
            ("unet.down_blocks.0.attn1.to_q.lora.alpha", Q, "alpha"),
            ("unet.down_blocks.0.attn1.processor.to_q_lora.up.weight", Q, UP),
            ("unet.down_blocks.0.attn1.processor.to_out_lora.up.weight", OUT, UP),
            (
                "text_encoder.l.self_attn.to_k_lora.down.weight",
                "text_encoder.l.self_attn.k_proj",
                DOWN,
            ),
            (
                "text_encoder.l.self_attn.to_out_lora.up.weight",
                "text_encoder.l.self_attn.out_proj",
                UP,
            ),
            ("text_encoder.l.q_proj.lora_linear_layer.up.weight", "text_encoder.l.q_proj", UP),
            ("base_model.model.a.b.lora_A.weight", "base_model.model.a.b", DOWN),
            ("base_model.model.a.b.lora_A.default.weight", "base_model.model.a.b", DOWN),
            ("base_model.model.a.b.lora_magnitude_vector", "base_model.model.a.b", "dora_scale"),
            ("lora_unet_a.lora_magnitude_vector", "lora_unet_a", "dora_scale"),
            ("lora_unet_a.magnitude", "lora_unet_a", "dora_scale"),
            ("lora_unet_a.oft_R.weight", "lora_unet_a", "oft_R.weight"),
            ("lora_unet_a.oft_R.scaled_oft", "lora_unet_a", "oft_R.scaled_oft"),
            ("base_model.model.a.b.oft_R.weight", "base_model.model.a.b", "oft_R.weight"),
            ("base_model.model.a.b.oft_R.default.weight", "base_model.model.a.b", "oft_R.weight"),
            ("base_model.model.a.b.lora_B.bias", "base_model.model.a.b", "diff_b"),
            ("base_model.model.a.b.lora_B.default.bias", "base_model.model.a.b", "diff_b"),
            (
                "base_model.model.a.b.lora_magnitude_vector.default.weight",
                "base_model.model.a.b",
                "dora_scale",
            ),
        ] {
            assert_eq!(placed(key), (module.to_string(), suffix.to_string()), "{key}");
        }
    }

    #[test]
    fn what_has_no_place_says_why() {
        let keys = Keys::of(&registry());
        for (key, reason) in [
            ("bundle_emb.name.string_to_param.*", "bundled"),
            ("a\nb.lora_up.weight", "control characters"),
            ("a\u{1b}[2J.lora_up.weight", "control characters"),
            ("a.lora_embedding_A", "embedding"),
            ("a.lora_embedding_B.default", "embedding"),
            ("a.oft_r", "of PEFT before 0.14"),
            ("a.oft_embedding_R.weight", "embedding"),
            ("a.boft_R", "PEFT's own form"),
            ("a.ia3_l", "PEFT's own form"),
            ("a.lora_A.bias", "bias"),
            ("a.bias", "no tensor of a known adapter"),
            ("lora_up", "no tensor of a known adapter"),
            ("", "no tensor of a known adapter"),
            (".lora_up", "no tensor of a known adapter"),
        ] {
            assert!(keys.place(key).unwrap_err().contains(reason), "{key}");
        }
    }
}
