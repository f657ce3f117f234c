//! `combine`, and what else of an adapter's form can be chosen.

use burn::tensor::TensorData;

use super::run::{Desk, reference, relative};

/// Two adapters of one layer, of rank 1, and its base.
fn desk() -> Desk {
    let desk = Desk::new();
    for (name, alpha, down, up) in
        [("a", 2.0, [1.0, 0.0], [3.0, 0.0]), ("b", 0.5, [0.0, 1.0], [0.0, 4.0])]
    {
        desk.tensors(
            name,
            &[
                ("lycoris_l.alpha", TensorData::new(vec![alpha as f32], [0usize; 0])),
                ("lycoris_l.lora_down.weight", TensorData::from([down.map(|x| x as f32)])),
                ("lycoris_l.lora_up.weight", TensorData::from(up.map(|x| [x as f32]))),
            ],
        );
    }
    desk.tensors("base", &[("l.weight", TensorData::from([[0.0f32; 2]; 2]))]);
    desk
}

#[test]
fn adapters_are_added_up_with_their_strengths() {
    let desk = desk();
    let out = desk.run("combine a:0.5 b:-1 -o sum").succeeds();
    assert!(out.contains("sum: 1 sum of 2 files, 8 parameters, "), "{out}");
    desk.run("merge base sum -o merged").succeeds();
    // 0.5 · 2 · 3 and -1 · 0.5 · 4.
    assert_eq!(desk.values("merged", "l.weight"), [3.0, 0.0, 0.0, -2.0]);
    let json = desk.run("combine a b --rank 1 -o small --json").json();
    assert_eq!(json["layers"][0]["rank"], 1);
    assert_eq!(json["adapters"][1]["strength"], 1.0);
    // 6 is kept, 2 is lost.
    assert!((json["total"]["error"].as_f64().unwrap() - 2.0).abs() < 1e-6, "{json}");
}

#[test]
fn what_cannot_be_added_up_is_refused_in_one_line() {
    let desk = desk();
    let loha = reference("loha.safetensors");
    for (arguments, expected) in [
        (format!("a {loha} -o new"), "loha cannot be added up; turn it into one that can with"),
        ("a none -o new".into(), "none: "),
        ("a b -o base".into(), "base: exists already"),
    ] {
        let error = desk.refusal(&format!("combine {arguments}"));
        assert!(error.contains(expected), "{error}");
    }
    for (arguments, expected) in [
        ("a b:0 -o new", "b: strength 0 adds nothing of it"),
        ("a b -o a", "a: is an input"),
        ("-o new", "<ADAPTER[:MU]>..."),
    ] {
        let error = desk.misuse(&format!("combine {arguments}"));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_extracted_adapter_has_the_alpha_that_is_asked_for() {
    let desk = Desk::new();
    let (base, tuned) = (TensorData::from([[0.0f32; 3]; 2]), [[1.0f32, 2.0, 3.0], [4.0, 5.0, 7.0]]);
    desk.tensors("base", &[("l.weight", base)]);
    desk.tensors("tuned", &[("l.weight", TensorData::from(tuned))]);
    let tuned: Vec<f64> = tuned.concat().into_iter().map(f64::from).collect();
    for algorithm in ["lora", "loha"] {
        let extract = format!("extract base tuned --adapter {algorithm} --rank 2 --overwrite");
        desk.run(&format!("{extract} -o plain")).succeeds();
        let json = desk.run(&format!("{extract} --alpha 0.5 -o half --json")).json();
        assert_eq!(desk.values("plain", "lycoris_l.alpha"), [2.0]);
        assert_eq!(desk.values("half", "lycoris_l.alpha"), [0.5]);
        assert_eq!(desk.open("half").metadata()["ss_network_alpha"], "0.5");
        let error = json["total"]["relative_error"].as_f64().unwrap();
        for name in ["plain", "half"] {
            desk.run(&format!("merge base {name} -o merged --overwrite")).succeeds();
            let off = relative(&desk.values("merged", "l.weight"), &tuned);
            assert!((off - error).abs() < 1e-6, "{algorithm} {name}: {off} {error}");
        }
    }
    let extract = "extract base tuned --overwrite -o new";
    let error = desk.refusal(&format!("{extract} --adapter full --alpha 2"));
    assert!(error.contains("full has no alpha to choose; leave it out"), "{error}");
    for alpha in ["0", "-1", "nan", "x"] {
        desk.misuse(&format!("{extract} --adapter lora --rank 1 --alpha {alpha}"));
    }
}

#[test]
fn a_resized_file_has_the_type_that_is_asked_for() {
    let desk = Desk::new();
    let adapter = reference("lora.safetensors");
    for (dtype, rounding) in [("f16", 1e-3), ("bf16", 1e-2), ("f32", 0.0)] {
        let json =
            desk.run(&format!("resize {adapter} --rank 100 --dtype {dtype} -o {dtype} --json"));
        let json = json.json();
        let file = desk.open(dtype);
        for name in file.names().iter().filter(|name| !name.ends_with(".alpha")) {
            let info = file.info(name).unwrap();
            assert_eq!(format!("{:?}", info.dtype), dtype.to_uppercase(), "{name}");
        }
        let error = json["total"]["relative_error"].as_f64().unwrap();
        assert!(error <= rounding && (rounding == 0.0 || error > 0.0), "{dtype}: {error}");
    }
    let wide = TensorData::from([[1e6f32, 0.0]]);
    desk.tensors(
        "wide",
        &[
            ("lycoris_l.lora_down.weight", wide),
            ("lycoris_l.lora_up.weight", TensorData::from([[1.0f32]])),
        ],
    );
    let error = desk.refusal("resize wide --rank 1 --dtype f16 -o new");
    assert!(error.ends_with("does not fit into F16; choose a wider type"), "{error}");
}
