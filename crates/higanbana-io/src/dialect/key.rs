//! A key of an adapter file: which module, and which tensor of it in LyCORIS's words.

use super::stems::Stems;

/// LyCORIS's name of the factor next to the input; PEFT's `lora_A`.
pub(super) const DOWN: &str = "lora_down.weight";
/// LyCORIS's name of the factor next to the output; PEFT's `lora_B`.
pub(super) const UP: &str = "lora_up.weight";
/// LyCORIS's name of the norms that a weight-decomposed adapter learns.
pub(super) const NORMS: &str = "dora_scale";
/// PEFT's name of the same.
pub(super) const MAGNITUDE: &str = "lora_magnitude_vector";

/// A key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub module: String,
    pub suffix: String,
    /// The key is in a spelling of diffusers or PEFT.
    pub foreign: bool,
}

/// Finds the place of a key.
///
/// # Errors
/// Why the key has none.
pub(super) fn parse(key: &str, stems: &Stems) -> Result<Key, &'static str> {
    if key.starts_with("bundle_emb.") {
        return Err("an embedding bundled with the adapter, not part of it");
    }
    // Names go into messages of one line.
    if key.contains(char::is_control) {
        return Err("a name with control characters, which no module has");
    }
    let segments: Vec<&str> = key.split('.').collect();
    // The marker may be followed by an adapter's name and `weight`.
    for at in (1..segments.len()).rev().take(3) {
        let found = foreign(segments[at], &segments[at + 1..])?;
        let Some((suffix, own)) = found else { continue };
        let module = foreign_module(&segments[..at], own);
        return Ok(Key { module, suffix: suffix.into(), foreign: true });
    }
    let (module, suffix) = stems.split(key).ok_or("no tensor of a known adapter is called so")?;
    Ok(Key { module: module.into(), suffix: suffix.into(), foreign: false })
}

/// The tensor that `marker` and the segments after it name, and the last segment of the module
/// where the marker swallowed it (`to_q_lora`).
fn foreign<'a>(
    marker: &'a str,
    tail: &[&str],
) -> Result<Option<(&'static str, Option<&'a str>)>, &'static str> {
    let by_letter = |suffix| match tail {
        [] | [_] | [_, "weight"] if tail.last() != Some(&"bias") => Ok(Some((suffix, None))),
        [.., "bias"] => Err("a bias beside the low-rank factors, which is not supported"),
        _ => Ok(None),
    };
    let by_direction = |own| match tail {
        ["down"] | ["down", "weight"] => Some((DOWN, own)),
        ["up"] | ["up", "weight"] => Some((UP, own)),
        ["alpha"] => Some(("alpha", own)),
        _ => None,
    };
    match marker {
        "lora_A" => by_letter(DOWN),
        "lora_B" => by_letter(UP),
        MAGNITUDE => by_letter(NORMS),
        "lora_embedding_A" | "lora_embedding_B" => {
            Err("an adapter of an embedding, which is not supported")
        }
        "oft_R" | "oft_r" | "boft_R" | "boft_s" => {
            Err("PEFT's own form of orthogonal adapters, which is not read")
        }
        "ia3_l" => Err("PEFT's own form of IA3, which is not read"),
        "lora" | "lora_linear_layer" => Ok(by_direction(None)),
        _ => Ok(marker.strip_suffix("_lora").and_then(|own| by_direction(Some(own)))),
    }
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
    use super::*;

    fn placed(key: &str) -> (String, String) {
        let stems = Stems::new(["lora_up", "lora_down.weight", "diff", "weight", "on_input"]);
        let Key { module, suffix, .. } = parse(key, &stems).unwrap();
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
        let stems = Stems::new(["lora_up"]);
        for (key, reason) in [
            ("bundle_emb.name.string_to_param.*", "bundled"),
            ("a\nb.lora_up.weight", "control characters"),
            ("a\u{1b}[2J.lora_up.weight", "control characters"),
            ("a.lora_embedding_A", "embedding"),
            ("a.lora_embedding_B.default", "embedding"),
            ("a.oft_R.weight", "PEFT's own form"),
            ("a.boft_R", "PEFT's own form"),
            ("a.ia3_l", "PEFT's own form"),
            ("a.lora_B.bias", "bias"),
            ("a.lora_B.default.bias", "bias"),
            ("a.bias", "no tensor of a known adapter"),
            ("lora_up.weight", "no tensor of a known adapter"),
            ("", "no tensor of a known adapter"),
            (".lora_up.weight", "no tensor of a known adapter"),
        ] {
            assert!(parse(key, &stems).unwrap_err().contains(reason), "{key}");
        }
    }
}
