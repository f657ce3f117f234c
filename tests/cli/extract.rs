use burn::tensor::TensorData;
use serde_json::Value;

use super::run::{Desk, reference};

/// A base and its tuning: `l` by a matrix of the singular values 3, 2 and 1, `c` by a convolution,
/// a bias by 0.5.
fn desk() -> Desk {
    let desk = Desk::new();
    let l = TensorData::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
    let moved = TensorData::from([[4.0f32, 2.0, 3.0], [4.0, 5.0, 8.0], [7.0, 9.0, 9.0]]);
    let c = |x: f32| TensorData::new(vec![x, 1.0, 1.0, 1.0], [1, 1, 2, 2]);
    let b = |x: f32| TensorData::from([x, 1.0, 1.0]);
    desk.tensors("base", &[("l.weight", l), ("l.bias", b(1.0)), ("c.weight", c(1.0))]);
    desk.tensors("tuned", &[("l.weight", moved), ("l.bias", b(1.5)), ("c.weight", c(2.0))]);
    desk
}

#[test]
fn the_errors_of_layers_and_of_everything_are_printed() {
    let desk = desk();
    let out = desk.run("extract base tuned --adapter lora --rank 2 -o lora").succeeds();
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["module", "algorithm", "shape", "rank", "parameters", "norm", "error"]);
    // √14 = 3.7417, 1/√14 = 26.73 %.
    assert_eq!(lines[1], ["lycoris_l", "lora", "3×3", "2", "12", "3.7417", "26.73", "%"]);
    assert!(lines[3].starts_with(&["lora:", "1", "adapter,", "12", "parameters,"]), "{out}");
    // √(1 + 1 + 1/4) of √(14 + 1 + 1/4).
    let relative =
        "relative error 26.73 % of these layers, 38.41 % of the whole difference; equal: 0 ";
    assert!(out.contains(relative), "{out}");
    assert!(
        out.contains("left out: 1 tensor, 6.56 % of the squared difference: a convolution"),
        "{out}"
    );
    assert!(out.contains("left out: 1 tensor, 1.64 % of the squared difference: a bias"), "{out}");

    desk.run("merge base lora --precise -o merged").succeeds();
    let merged = desk.values("merged", "l.weight");
    // Of the three steps, those of 3 and 2 are there.
    for (w, there) in merged.iter().zip([4.0, 2.0, 3.0, 4.0, 5.0, 8.0, 7.0, 8.0, 9.0]) {
        assert!((w - there).abs() < 1e-6, "{merged:?}");
    }
}

/// The identity of six dimensions, by a product of rank 2: no matrix of rank 4 leaves less than √2 of its √6.
#[test]
fn a_fit_that_is_a_local_optimum_says_so() {
    let desk = Desk::new();
    let identity: Vec<f32> = (0..36).map(|at| f32::from(u8::from(at % 7 == 0))).collect();
    let zeros = TensorData::new(vec![0.0f32; 36], [6, 6]);
    desk.tensors("base", &[("l.weight", zeros)]);
    desk.tensors("tuned", &[("l.weight", TensorData::new(identity, [6, 6]))]);
    let out = desk.run("extract base tuned --adapter loha --rank 2 -o loha").succeeds();
    let said = out.lines().find(|line| line.starts_with("local optimum: 1 of 1 layer; ")).unwrap();
    assert!(said.ends_with("and a nearer loha may exist, to 57.74 % at best"), "{said}");
    let json = desk.run("extract base tuned --adapter loha --rank 2 -o again --json").json();
    let least = json["layers"][0]["local_optimum"].as_f64().unwrap();
    assert!((least - 2f64.sqrt()).abs() < 1e-6, "{least}");
    let out = desk.run("extract base tuned --adapter lora --rank 2 -o lora").succeeds();
    assert!(!out.contains("local optimum"), "{out}");
}

#[test]
fn json_has_every_number() {
    let desk = desk();
    let json = desk.run("extract base tuned --adapter locon --energy 0.9 -o out --json").json();
    let layers = json["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let l = layers.iter().find(|layer| layer["module"] == "lycoris_l").unwrap();
    // (9 + 4) / 14 is the first share above 0.9.
    assert_eq!((&l["rank"], &l["algorithm"]), (&2.into(), &"lora".into()));
    assert_eq!(l["parameter"], "weight");
    let near = |value: &Value, there: f64| (value.as_f64().unwrap() - there).abs() < 1e-6;
    assert!(near(&l["relative_error"], (1.0f64 / 14.0).sqrt()), "{l}");
    assert!(near(&json["total_of_all"]["norm"], (15.25f64).sqrt()), "{json}");
    assert_eq!(json["left_out"][0]["key"], "l.bias");
    assert_eq!((&json["dialect"], &json["equal"]), (&"lycoris".into(), &0.into()));
    let bytes = std::fs::metadata(desk.path("out")).unwrap().len();
    assert_eq!(json["bytes"], bytes);
}

#[test]
fn full_keeps_everything_and_16_bits_nearly() {
    let desk = desk();
    let out = desk.run("extract base tuned --adapter full -o full").succeeds();
    assert!(out.contains("relative error 0 of these layers, 0 of the whole"), "{out}");
    desk.run("merge base full -o merged").succeeds();
    for key in ["l.weight", "l.bias", "c.weight"] {
        assert_eq!(desk.values("merged", key), desk.values("tuned", key));
    }
    let narrow = "extract base tuned --adapter locon --rank 3 --dtype bf16 -o narrow --json";
    let error = desk.run(narrow).json()["total"]["relative_error"].as_f64().unwrap();
    assert!(error > 1e-4 && error < 1e-2, "{error}");
    assert_eq!(
        desk.open("narrow").info("lycoris_l.lora_up.weight").unwrap().dtype.to_string(),
        "BF16"
    );
}

#[test]
fn what_cannot_be_extracted_is_refused_in_one_line() {
    let desk = desk();
    desk.tensors("other", &[("k.weight", TensorData::from([[1.0f32]]))]);
    desk.tensors("nan", &[("l.weight", TensorData::from([[f32::NAN; 3]; 3]))]);
    desk.bytes("text", b"once upon a time, and longer than eight bytes");
    for (arguments, part) in [
        ("base other --adapter lora --rank 1 -o out", "base and other have no weight in common"),
        ("base base --adapter lora --rank 1 -o out", "there is nothing to extract"),
        ("base nan --adapter lora --rank 1 -o out", "nan: tensor \"l.weight\" is NaN"),
        ("base text --adapter lora --rank 1 -o out", "text: "),
        ("base missing --adapter lora --rank 1 -o out", "missing: cannot be opened"),
        ("base tuned --adapter lora --rank 1 -o text", "text: exists already"),
        ("base tuned --adapter lora --rank 1 -o no/out", "its folder no does not exist"),
    ] {
        let message = desk.refusal(&format!("extract {arguments}"));
        assert!(message.contains(part), "{arguments}: {message}");
    }
}

#[test]
fn wrong_usage_names_what_there_is() {
    let desk = desk();
    for (arguments, part) in [
        (
            "--adapter boft --rank 1",
            "boft cannot be fitted to an update; choose one of lora, locon",
        ),
        ("--adapter lora -o out", "how much shall lora keep? Give --rank R"),
        ("--adapter full --rank 2 -o out", "full keeps everything; leave out how much to keep"),
        ("--adapter lora --rank 1 --overwrite -o tuned", "tuned: is an input"),
        ("--adapter lora --rank 0 -o out", "a rank is a whole number, 1 or more"),
        ("--adapter lora --energy 1.5 -o out", "a share is a number above 0, at most 1"),
        ("--adapter lora --threshold -1 -o out", "a threshold is a number, 0 or more"),
        ("--adapter lora --rank 1 --energy 0.5 -o out", "cannot be used with"),
    ] {
        let message = desk.misuse(&format!("extract base tuned {arguments}"));
        assert!(message.contains(part), "{arguments}: {message}");
    }
}

#[test]
fn an_output_is_replaced_only_where_asked_for() {
    let desk = desk();
    desk.bytes("out", b"precious");
    desk.refusal("extract base tuned --adapter lora --rank 1 -o out");
    assert_eq!(std::fs::read(desk.path("out")).unwrap(), b"precious");
    desk.run("extract base tuned --adapter lora --rank 1 -o out --overwrite").succeeds();
    assert_eq!(desk.open("out").names().len(), 3);
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_leaves_nothing_behind() {
    let desk = Desk::new();
    let weight = |x: f32| TensorData::new(vec![x; 1 << 20], [1 << 10, 1 << 10]);
    desk.tensors("base", &[("l.weight", weight(0.0))]);
    desk.tensors("tuned", &[("l.weight", weight(1.0))]);
    let message = desk.run_without_room("extract base tuned --adapter full -o out").fails();
    assert!(message.starts_with("out: cannot be written ("), "{message}");
    assert_eq!(desk.listing(), ["base", "tuned"]);
}

#[test]
fn a_merged_file_of_lycoris_is_found_again() {
    let desk = Desk::new();
    let base = reference("base.safetensors");
    let adapter = reference("lora.safetensors");
    desk.run(&format!("merge {base} {adapter} -o tuned")).succeeds();
    // The update of a file of rank 4 (3 on convolutions) is found again.
    let command =
        format!("extract {base} tuned --adapter locon --rank 4 --precise -o again --json");
    let error = desk.run(&command).json()["total"]["relative_error"].as_f64().unwrap();
    assert!(error < 1e-6, "{error}");
}
