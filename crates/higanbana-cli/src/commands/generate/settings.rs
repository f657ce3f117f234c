//! The settings of an image, in the form that the web UIs write and read.

use std::path::Path;

use higanbana_diffusion::{Pipeline, schedulers, text::BACKTRACK};
use higanbana_io::Strength;

use super::{Arguments, named::stem};

/// The settings of an image of a size, made from a seed.
pub fn parameters(
    arguments: &Arguments,
    pipeline: &Pipeline,
    [height, width]: [usize; 2],
    seed: u64,
) -> String {
    let mut text = arguments.prompt.clone();
    for adapter in &arguments.adapters {
        text += &named(&adapter.path, &adapter.strength(1.0));
    }
    if let Some(negative) = &arguments.negative {
        text += &format!("\nNegative prompt: {negative}");
    }
    let own = || schedulers::own(&pipeline.scheduler);
    let scheduler = arguments.scheduler.as_deref().or_else(own);
    text += &format!("\nSteps: {}, Sampler: {}", arguments.steps, sampler(scheduler));
    if let Some(sigmas) = arguments.sigmas {
        let name = sigmas.name();
        text += &format!(", Schedule type: {}{}", name[..1].to_uppercase(), &name[1..]);
    }
    text += &format!(
        ", CFG scale: {}, Seed: {seed}, Size: {width}x{height}, Model: {}",
        arguments.guidance,
        quoted(&stem(&arguments.model)),
    );
    if arguments.clip_skip > 0 {
        text += &format!(", Clip skip: {}", arguments.clip_skip + 1);
    }
    if arguments.negative_clip_skip != 0 && arguments.negative_clip_skip != arguments.clip_skip {
        text += &format!(", Negative clip skip: {}", arguments.negative_clip_skip + 1);
    }
    if usize::from(arguments.comma_backtrack) != BACKTRACK {
        text += &format!(", Comma backtrack: {}", arguments.comma_backtrack);
    }
    if arguments.image.is_some() {
        text += &format!(", Denoising strength: {}", arguments.strength);
    }
    text + concat!(", Version: higanbana ", env!("CARGO_PKG_VERSION"))
}

/// An adapter as a prompt names it.
fn named(path: &Path, strength: &Strength) -> String {
    let mut text = format!(" <lora:{}:{}", stem(path), strength.text);
    if strength.unet != strength.text {
        text += &format!(":{}", strength.unet);
    }
    if let Some(blocks) = &strength.blocks {
        text += &format!(":lbw={blocks}");
    }
    text + ">"
}

/// What the web UIs call a scheduler.
fn sampler(scheduler: Option<&str>) -> &str {
    match scheduler {
        None => "unknown",
        Some("ddpm") => "DDPM",
        Some("ddim") => "DDIM",
        Some("pndm") => "PLMS",
        Some("euler") => "Euler",
        Some("euler_a") => "Euler a",
        Some("heun") => "Heun",
        Some("dpmpp_2m") => "DPM++ 2M",
        Some("dpmpp_2m_karras") => "DPM++ 2M Karras",
        Some("dpmpp_2m_sde") => "DPM++ 2M SDE",
        Some("dpmpp_3m_sde") => "DPM++ 3M SDE",
        Some("dpmpp_sde") => "DPM++ SDE",
        Some("unipc") => "UniPC",
        Some("lcm") => "LCM",
        Some(other) => other,
    }
}

/// A value in quotes where it would end early without.
fn quoted(value: &str) -> String {
    match value.contains([',', ':', '\n']) {
        true => serde_json::Value::from(value).to_string(),
        false => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_named_as_a_prompt_names_them() {
        let named = |options: &[&str]| {
            let mut strength = Strength::from(0.8);
            options.iter().for_each(|option| strength.set(option).unwrap());
            named(Path::new("x/style.v1.safetensors"), &strength)
        };
        assert_eq!(named(&[]), " <lora:style.v1:0.8>");
        assert_eq!(named(&["te=0.5"]), " <lora:style.v1:0.5:0.8>");
        let weights = "1,0,0,0,1,1,1,1,1,1,1,1";
        let expected = format!(" <lora:style.v1:0.8:lbw={weights}>");
        assert_eq!(named(&[&format!("lbw={weights}")]), expected);
    }

    #[test]
    fn a_value_with_a_comma_is_quoted() {
        assert_eq!(quoted("sd15"), "sd15");
        assert_eq!(quoted("a, \"b\""), r#""a, \"b\"""#);
    }
}
