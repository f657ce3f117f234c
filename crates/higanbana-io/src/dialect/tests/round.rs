//! Round trips over all dialects, without a base: every name, tensor and metadata entry comes back, or
//! what cannot be held or told is said; no module ever becomes another one.

use super::*;
use crate::{
    Checkpoint, Names,
    names::{Architecture, Component, Joint, PEFT, PREFIXES, Prefix},
    testing::reference,
};

const Q: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
/// That of SDXL alone, and in the original's names.
const DEEP: &str = "mid_block.attentions.0.transformer_blocks.9.attn1.to_q";
const FC1: &str = "text_model.encoder.layers.0.mlp.fc1";
const PROJECTION: &str = "text_projection";

/// A model's module at a path of diffusers.
type Place = (Component, &'static str);
const SD: &[Place] = &[(Component::Unet, Q), (Component::TextEncoder, FC1)];
const XL: &[Place] = &[
    (Component::Unet, DEEP),
    (Component::TextEncoder, FC1),
    (Component::TextEncoder2, FC1),
    (Component::TextEncoder2, PROJECTION),
];
const UNET: &[Place] = &[(Component::Unet, Q)];
const TEXT_1: &[Place] = &[(Component::TextEncoder, FC1)];
const TEXT_2: &[Place] = &[(Component::TextEncoder2, FC1)];

const METADATA: [(&str, &str); 3] =
    [("ss_steps", "7"), ("modelspec.title", "t"), ("anything", "else")];

fn architecture(places: &[Place]) -> Architecture {
    let is_second = |(component, _): &Place| *component == Component::TextEncoder2;
    if places.iter().any(is_second) { Architecture::Sdxl } else { Architecture::Sd }
}

/// The original's name of a module of the UNet.
fn original(places: &[Place], path: &str) -> String {
    let mut all = architecture(places).unet_modules();
    all.find(|(theirs, _)| *theirs == path).map_or(path, |(_, original)| original).into()
}

/// The names of modules under one prefix for each model.
fn names(places: &[Place], prefixes: [&str; 3], is_original: bool) -> Vec<String> {
    let name = |(component, path): &Place| {
        let text = match component {
            Component::Unet => prefixes[0],
            Component::TextEncoder => prefixes[1],
            _ => prefixes[2],
        };
        let row = PREFIXES.iter().find(|row| row.text == text).expect("a known prefix");
        let is_original = is_original && *component == Component::Unet;
        row.name(&if is_original { original(places, path) } else { (*path).to_string() })
    };
    places.iter().map(name).collect()
}

/// The tensors of the first layer of a file of LyCORIS, no two modules' alike.
fn modules(names: &[String], case: &str) -> BTreeMap<String, Tensors> {
    let path = reference(&format!("lycoris/{case}.safetensors"));
    let file = AdapterReader::open(path, &registry()).unwrap();
    let first = file.modules().next().unwrap().to_string();
    let tensors = file.read(&first).unwrap();
    let of = |index: usize| {
        let scaled = tensors.iter().map(|(key, data)| {
            let times = |x: f32| if data.num_elements() > 1 { x * (index + 1) as f32 } else { x };
            let values: Vec<f32> = data.iter::<f32>().map(times).collect();
            match data.dtype().is_float() {
                true => (key.clone(), TensorData::new(values, data.shape().clone())),
                false => (key.clone(), data.clone()),
            }
        });
        scaled.collect()
    };
    names.iter().enumerate().map(|(index, name)| (name.clone(), of(index))).collect()
}

fn file(dialect: Dialect, modules: BTreeMap<String, Tensors>) -> AdapterFile {
    let metadata = METADATA.map(|(key, value)| (key.to_string(), value.to_string())).into();
    let emb = ("bundle_emb.cat.string_to_param.*".to_string(), ramp([2, 3], 1.0));
    let file = AdapterFile::new("in.safetensors".as_ref(), dialect, modules);
    AdapterFile { metadata, carried: [emb].into(), ..file }
}

fn encode(file: &AdapterFile, to: Dialect) -> Result<Encoded, FileError> {
    file.encode(&registry(), to, None, &Network::default())
}

/// What each module acts with, whatever holds its alpha: alpha / rank is put into B.
fn acting(file: &AdapterFile, names: &Names) -> BTreeMap<String, Vec<Vec<f32>>> {
    let module = |(name, tensors): (&String, &Tensors)| {
        let target = names.find(name).unwrap().unwrap_or_else(|| panic!("{name}"));
        let alpha = tensors.get("alpha").and_then(|alpha| alpha.iter::<f32>().next());
        let is_lora = tensors.contains_key("lora_up.weight");
        // Nothing is scaled by it.
        let is_whole = ["lokr_w1", "lokr_w2"].iter().all(|key| tensors.contains_key(*key));
        let rank = tensors.get("lora_down.weight").map_or(1, |down| down.shape()[0]) as f32;
        let kept = tensors.iter().filter(|(key, _)| !((is_lora || is_whole) && *key == "alpha"));
        let values = kept.map(|(key, data)| {
            let by = if key == "lora_up.weight" { alpha.unwrap_or(rank) / rank } else { 1.0 };
            data.iter::<f32>().map(|x| x * by).collect()
        });
        (target.weight.clone(), values.collect())
    };
    file.modules.iter().map(module).collect()
}

/// There and back: `same` names, or `renamed`, or why not.
fn trip(source: &AdapterFile, places: &[Place], to: Dialect) -> String {
    let phrase = |error: FileError| {
        let message = error.to_string();
        assert!(
            !message.contains('\n') && message.starts_with("in.safetensors: module "),
            "{message}"
        );
        let known = [
            "either text encoder",
            "one model and this one several",
            "which model it is of",
            "cannot be written as",
        ];
        let known = known.into_iter().find(|known| message.contains(known));
        known.unwrap_or_else(|| panic!("{message}")).to_string()
    };
    let encoded = match encode(source, to) {
        Ok(encoded) => encoded,
        Err(error) => return phrase(error),
    };
    let there = rewrite(&encoded, tempdir().unwrap().path());
    let known = Names::of(architecture(places));
    if to != Dialect::Peft {
        // Nothing has become another module on the way.
        assert_eq!(acting(&there, &known), acting(source, &known));
    }
    let there = AdapterFile { path: "in.safetensors".into(), ..there };
    let back = match encode(&there, source.dialect) {
        Ok(back) => back,
        Err(error) => return format!("back: {}", phrase(error)),
    };
    for (key, value) in METADATA {
        assert_eq!(back.metadata.get(key).map(String::as_str), Some(value), "{to}: {key}");
    }
    let carries = to.is_flat() && source.dialect.is_flat();
    assert_eq!(back.tensors.keys().any(|key| key.starts_with("bundle_emb.")), carries);
    let back = rewrite(&back, tempdir().unwrap().path());
    assert_eq!(acting(&back, &known), acting(source, &known));
    if back.modules.keys().eq(source.modules.keys()) { "same" } else { "renamed" }.into()
}

#[test]
fn names_come_back_or_are_refused_from_every_dialect_in_every_other() {
    const SEVERAL: &str = "one model and this one several";
    const EITHER: &str = "either text encoder";
    const OPEN: &str = "which model it is of";
    const BACK_OPEN: &str = "back: which model it is of";
    const KOHYA: [&str; 3] = ["lora_unet_", "lora_te_", "lora_te2_"];
    const KOHYA_XL: [&str; 3] = ["lora_unet_", "lora_te1_", "lora_te2_"];
    const LYCORIS: [&str; 3] = ["lycoris_"; 3];
    const DIFFUSERS: [&str; 3] = ["unet.", "text_encoder.", "text_encoder_2."];
    const COMFY: [&str; 3] = [
        "diffusion_model.",
        "text_encoders.clip_l.transformer.",
        "text_encoders.clip_g.transformer.",
    ];
    use Dialect::{Diffusers, Kohya, Lycoris, Peft};
    // Prefixes, modules, whether the UNet's are the original's; to LyCORIS, kohya, diffusers, PEFT.
    for (dialect, prefixes, places, is_original, outcomes) in [
        (Kohya, KOHYA, SD, false, ["same", "same", "same", SEVERAL]),
        (Kohya, KOHYA, SD, true, ["renamed", "same", "renamed", SEVERAL]),
        (Kohya, KOHYA_XL, XL, true, [EITHER, "same", "same", SEVERAL]),
        (Kohya, KOHYA_XL, XL, false, [EITHER, "same", "renamed", SEVERAL]),
        (Kohya, KOHYA_XL, UNET, true, ["renamed", "same", "renamed", "renamed"]),
        // That there are two encoders is lost with the other.
        (Kohya, KOHYA_XL, TEXT_1, false, [EITHER, "same", "renamed", BACK_OPEN]),
        (Kohya, KOHYA_XL, TEXT_2, false, [EITHER, "same", "same", BACK_OPEN]),
        (Lycoris, LYCORIS, SD, false, ["same", "same", "same", SEVERAL]),
        (Lycoris, LYCORIS, UNET, true, ["same", "renamed", "renamed", "renamed"]),
        (Diffusers, DIFFUSERS, SD, false, ["same", "same", "same", SEVERAL]),
        (Diffusers, DIFFUSERS, XL, false, [EITHER, "same", "same", SEVERAL]),
        (Diffusers, DIFFUSERS, TEXT_2, false, [EITHER, "same", "same", BACK_OPEN]),
        (Diffusers, COMFY, SD, true, ["renamed", "renamed", "renamed", SEVERAL]),
        (Diffusers, COMFY, XL, true, [EITHER, "renamed", "renamed", SEVERAL]),
        (Diffusers, ["", "", ""], UNET, true, ["renamed", "renamed", "renamed", "renamed"]),
        (Peft, [PEFT; 3], UNET, false, ["same", "same", "same", "same"]),
        (Peft, [PEFT; 3], TEXT_1, false, ["same", OPEN, OPEN, "same"]),
    ] {
        let source = file(dialect, modules(&names(places, prefixes, is_original), "lora"));
        for (to, expected) in Dialect::ALL.into_iter().zip(outcomes) {
            let what = format!("{:?} to {to}", source.modules.keys().collect::<Vec<_>>());
            assert_eq!(trip(&source, places, to), expected, "{what}");
        }
    }
}

#[test]
fn every_algorithm_comes_back_from_the_flattened_dialects() {
    let text = std::fs::read_to_string(reference("lycoris/manifest.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    for case in cases {
        let case = case["case"].as_str().unwrap();
        let source =
            file(Dialect::Kohya, modules(&names(SD, ["lora_unet_", "lora_te_", ""], false), case));
        for to in Dialect::ALL {
            match encode(&source, to) {
                Err(FileError::CannotHold { dialect, .. }) => assert_eq!(dialect, to.name()),
                Err(error) => assert!(to == Dialect::Peft, "{case} to {to}: {error}"),
                Ok(_) if !to.is_flat() => {
                    assert_eq!(trip(&source, SD, to), "same", "{case} to {to}");
                }
                Ok(encoded) => {
                    let there = rewrite(&encoded, tempdir().unwrap().path());
                    let back = encode(&there, Dialect::Kohya).unwrap();
                    let back = rewrite(&back, tempdir().unwrap().path());
                    assert_eq!(back.modules, source.modules, "{case} to {to}");
                    assert_eq!(back.carried, source.carried, "{case} to {to}");
                }
            }
        }
    }
}

/// Every algorithm under the prefixes of every dialect: what a flattened one holds comes back from the other, and
/// what diffusers or PEFT have no place for is refused.
#[test]
fn every_algorithm_comes_back_or_is_refused_under_the_prefixes_of_every_dialect() {
    let text = std::fs::read_to_string(reference("lycoris/manifest.json")).unwrap();
    let mut cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    cases.sort_by_key(|case| case["algorithm"].as_str().unwrap().to_string());
    cases.dedup_by_key(|case| case["algorithm"].clone());
    assert!(cases.len() > 13);
    for (dialect, prefixes, places) in [
        (Dialect::Kohya, ["lora_unet_", "lora_te1_", "lora_te2_"], XL),
        (Dialect::Lycoris, ["lycoris_"; 3], SD),
        (Dialect::Diffusers, ["unet.", "text_encoder.", "text_encoder_2."], XL),
        (Dialect::Peft, [PEFT; 3], UNET),
    ] {
        for case in cases.iter().map(|case| case["case"].as_str().unwrap()) {
            let source = file(dialect, modules(&names(places, prefixes, false), case));
            for to in Dialect::ALL {
                let outcome = trip(&source, places, to);
                let is_back = ["same", "renamed"].contains(&&*outcome);
                let has_place = dialect.is_flat() && to.is_flat() && !outcome.contains("encoder");
                assert!(is_back || !has_place, "{case} from {dialect} to {to}: {outcome}");
            }
        }
    }
}

#[test]
fn a_scale_in_the_metadata_is_not_applied_twice() {
    for (module, entries) in [
        ("mid_block.attn", r#"{"r": 2, "lora_alpha": 4}"#),
        ("unet.mid_block.attn", r#"{"unet.r": 2, "unet.lora_alpha": 4}"#),
    ] {
        let keys = ["lora_A.weight", "lora_B.weight"].map(|key| format!("{module}.{key}"));
        let fixture = Fixture::with_metadata(
            [(&keys[0], ramp([2, 3], 1.0)), (&keys[1], ramp([4, 2], 1.0))],
            &[("lora_adapter_metadata", entries)],
        );
        let reader = fixture.open().unwrap();
        let modules = reader.read_all().unwrap().modules;
        assert_eq!(modules[module]["alpha"], number(4.0));
        let again = reader.rewrite(&registry(), modules, &Network::default()).unwrap();
        let again = rewrite(&again, fixture.folder.path());
        // alpha / rank = 2 is in B now.
        assert_eq!(again.modules[module]["lora_up.weight"], ramp([4, 2], 2.0));
        let alpha =
            again.modules[module].get("alpha").map_or(2.0, |it| it.iter::<f32>().next().unwrap());
        assert_eq!(alpha, 2.0);
    }
}

/// Keys of one low-rank pair, and perhaps its alpha, as programs spell them.
const SPELLINGS: [[&str; 3]; 6] = [
    ["lora_up.weight", "lora_down.weight", "alpha"],
    ["lora_B.weight", "lora_A.weight", ""],
    ["lora_B.default.weight", "lora_A.default.weight", ""],
    ["lora.up.weight", "lora.down.weight", "alpha"],
    ["lora_linear_layer.up.weight", "lora_linear_layer.down.weight", ""],
    ["processor.to_q_lora.up.weight", "processor.to_q_lora.down.weight", ""],
];

#[test]
fn a_file_that_is_rewritten_keeps_every_name_under_every_prefix() {
    for Prefix { text, joint, .. } in PREFIXES {
        for [up, down, alpha] in SPELLINGS {
            let processor = up.starts_with("processor");
            // An old spelling of diffusers', and an alpha that PEFT's files have in their configuration.
            let is_old = processor && (*joint == Joint::Underscore || text.contains("model."));
            if is_old || (*text == PEFT && !alpha.is_empty()) {
                continue;
            }
            let module = match joint {
                Joint::Dot if processor => format!("{text}mid_block.attn1"),
                Joint::Dot => format!("{text}blocks.0.attn.proj"),
                Joint::Underscore => format!("{text}blocks_0_attn_proj"),
            };
            let keys = [up, down, alpha].map(|key| format!("{module}.{key}"));
            let (b, a) = (ramp([4, 2], 1.0), ramp([2, 3], 1.0));
            let fixture = match alpha {
                "" => Fixture::with_metadata([(&keys[0], b), (&keys[1], a)], &METADATA),
                _ => Fixture::with_metadata(
                    [(&keys[0], b), (&keys[1], a), (&keys[2], number(1.0))],
                    &METADATA,
                ),
            };
            let reader = fixture.open().unwrap();
            let modules = reader.read_all().unwrap().modules;
            let again = reader.rewrite(&registry(), modules, &Network::default()).unwrap();
            let original = Checkpoint::open(&fixture.path).unwrap();
            for key in original.names() {
                assert_eq!(again.tensors.get(key), original.read(key).ok().as_ref(), "{key}");
            }
            let added: Vec<_> =
                again.tensors.keys().filter(|key| original.info(key).is_none()).collect();
            // LyCORIS cannot read a flattened name without its alpha.
            let is_added = alpha.is_empty() && *joint == Joint::Underscore;
            assert_eq!(added.len(), usize::from(is_added), "{added:?}");
            for (key, value) in METADATA {
                assert_eq!(again.metadata.get(key).map(String::as_str), Some(value), "{keys:?}");
            }
        }
    }
}
