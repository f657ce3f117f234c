//! LoHa and LoKr as PEFT writes them.

use serde_json::{Value, json};

use super::{
    writing::{encode, file, keys},
    *,
};

fn tensors<const N: usize>(of: [(&str, TensorData); N]) -> Tensors {
    of.into_iter().map(|(key, data)| (key.into(), data)).collect()
}

/// A module of rank 2 for a layer 4 x 3.
fn loha() -> Tensors {
    tensors([
        ("hada_w1_a", ramp([4, 2], 1.0)),
        ("hada_w1_b", ramp([2, 3], 1.0)),
        ("hada_w2_a", ramp([4, 2], 0.5)),
        ("hada_w2_b", ramp([2, 3], 0.5)),
        ("alpha", number(1.0)),
    ])
}

/// A module of rank 1 for a layer of `l k` rows and 16 columns.
fn lokr([l, k]: [usize; 2]) -> Tensors {
    tensors([
        ("lokr_w1", ramp([l, 4], 1.0)),
        ("lokr_w2_a", ramp([k, 1], 1.0)),
        ("lokr_w2_b", ramp([1, 4], 1.0)),
        ("alpha", number(0.5)),
    ])
}

fn config(encoded: &Encoded) -> Value {
    serde_json::from_str(encoded.adapter_config.as_ref().unwrap()).unwrap()
}

#[test]
fn loha_is_read_as_it_was_written() {
    let core = || ramp([2, 2, 3, 3], 1.0);
    let tucker = tensors([
        ("hada_w1_a", ramp([2, 4], 1.0)),
        ("hada_w1_b", ramp([2, 3], 1.0)),
        ("hada_t1", core()),
        ("hada_w2_a", ramp([2, 4], 1.0)),
        ("hada_w2_b", ramp([2, 3], 1.0)),
        ("hada_t2", core()),
        ("alpha", number(4.0)),
    ]);
    let file = file([("m.a", loha()), ("m.b", loha()), ("m.c", tucker)]);
    let encoded = encode(&file, Dialect::Peft).unwrap();
    let begin = ["a", "b"].map(|end| format!("base_model.model.m.a.hada_w1_{end}"));
    assert_eq!(keys(&encoded)[..2], begin);
    for (key, value) in [
        ("peft_type", json!("LOHA")),
        ("r", json!(2)),
        ("alpha", json!(1)),
        ("alpha_pattern", json!({"^m.c": 4})),
        ("target_modules", json!(["m.a", "m.b", "m.c"])),
        ("use_effective_conv2d", json!(true)),
    ] {
        assert_eq!(config(&encoded)[key], value, "{key}");
    }
    let read = rewrite(&encoded, tempdir().unwrap().path());
    let expected = file.modules.iter().map(|(k, v)| (format!("base_model.model.{k}"), v.clone()));
    assert_eq!(read.modules, expected.collect());
}

#[test]
fn lokr_s_alpha_acts_in_peft_as_it_does_here() {
    // LyCORIS ignores alpha where both factors are whole, PEFT multiplies by alpha / r.
    let whole = tensors([
        ("lokr_w1", ramp([2, 2], 1.0)),
        ("lokr_w2", ramp([3, 2], 1.0)),
        ("alpha", number(0.25)),
    ]);
    let file = file([("m.thin", lokr([2, 4])), ("m.whole", whole)]);
    let encoded = encode(&file, Dialect::Peft).unwrap();
    let config = config(&encoded);
    for (key, value) in [
        ("peft_type", json!("LOKR")),
        ("r", json!(1)),
        ("alpha", json!(0.5)),
        ("rank_pattern", json!({"^m.whole": 3})),
        ("alpha_pattern", json!({"^m.whole": 3})),
        ("decompose_factor", json!(-1)),
        ("decompose_both", json!(false)),
        ("use_effective_conv2d", json!(false)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let read = rewrite(&encoded, tempdir().unwrap().path());
    let mut expected = file.modules.clone();
    expected.get_mut("m.whole").unwrap().remove("alpha");
    let expected = expected.into_iter().map(|(k, v)| (format!("base_model.model.{k}"), v));
    assert_eq!(read.modules, expected.collect());
}

#[test]
fn peft_is_told_how_lokr_splits_its_sizes() {
    // 16 is 4 times 4, unless 2 is asked for: then 16 columns are 2 times 8.
    let thin = |columns: [usize; 2]| {
        let mut thin = lokr([2, 8]);
        thin.insert("lokr_w1".into(), ramp([2, columns[0]], 1.0));
        thin.insert("lokr_w2_b".into(), ramp([1, columns[1]], 1.0));
        thin
    };
    let encoded = encode(&file([("m.a", thin([2, 8]))]), Dialect::Peft).unwrap();
    assert_eq!(config(&encoded)["decompose_factor"], 2);
    // A kernel of 9 taps is among the columns.
    let encoded = encode(&file([("m.a", thin([2, 27]))]), Dialect::Peft).unwrap();
    assert_eq!(config(&encoded)["decompose_factor"], 2);
    let mut both = lokr([4, 4]);
    both.remove("lokr_w1");
    both.extend(tensors([("lokr_w1_a", ramp([4, 1], 1.0)), ("lokr_w1_b", ramp([1, 4], 1.0))]));
    let encoded = encode(&file([("m.a", both)]), Dialect::Peft).unwrap();
    assert_eq!(config(&encoded)["decompose_both"], true);
}

#[test]
fn what_peft_cannot_hold_of_them_is_named() {
    let with = |mut tensors: Tensors, key: &str, data| {
        tensors.insert(key.into(), data);
        tensors
    };
    let mut half = loha();
    half.remove("hada_w2_b");
    let line = tensors([("lokr_w1", ramp([2, 2], 1.0)), ("lokr_w2", ramp([2, 2, 3], 1.0))]);
    for (tensors, what) in [
        (with(loha(), "dora_scale", ramp([4, 1], 1.0)), "dora_scale"),
        (with(loha(), "hada_w2_b", ramp([3, 3], 1.0)), "factors of different or no rank"),
        (with(loha(), "hada_t1", ramp([2, 2, 3, 3], 1.0)), "factors of different or no rank"),
        (half, "a part of a LoHa adapter"),
        (with(lokr([2, 4]), "lokr_w1_a", ramp([2, 2], 1.0)), "a part of a LoKr adapter"),
        (with(lokr([2, 4]), "lokr_w2_a", ramp([0, 1], 1.0)), "factors of different or no rank"),
        (line, "lokr_w2 of shape [2, 2, 3]"),
        (lokr([3, 8]), "the split of its sizes into [3, 4] and [8, 4]"),
    ] {
        let message = encode(&file([("m.a", tensors)]), Dialect::Peft).unwrap_err().to_string();
        let expected =
            format!("in.safetensors: module \"m.a\": {what} cannot be written as peft; bake it");
        assert!(message.starts_with(&expected), "{message}");
    }
    let mixed = file([("m.a", loha()), ("m.b", lokr([2, 4]))]);
    let message = encode(&mixed, Dialect::Peft).unwrap_err().to_string();
    assert!(message.contains("\"m.b\": LOKR beside LOHA cannot be written"), "{message}");
}
