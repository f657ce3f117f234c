use burn::tensor::TensorData;

use super::run::Desk;

/// A rank-2 update of a linear layer and a rank-1 update of a convolution, whose norms are known.
fn desk() -> Desk {
    let desk = Desk::new();
    let tensors = [
        ("lora_unet_a.lora_up.weight", TensorData::from([[3.0f32, 0.0], [0.0, 4.0], [0.0, 0.0]])),
        (
            "lora_unet_a.lora_down.weight",
            TensorData::from([[1.0f32, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]),
        ),
        ("lora_unet_a.alpha", TensorData::from([1.0f32])),
        ("lora_unet_c.lora_up.weight", TensorData::from([[[[1.0f32]]], [[[1.0]]]])),
        (
            "lora_unet_c.lora_down.weight",
            TensorData::from([[[[1.0f32, 1.0]], [[1.0, 1.0]], [[1.0, 1.0]]]]),
        ),
        ("lora_unet_c.alpha", TensorData::from([1.0f32])),
    ];
    desk.tensors("one.safetensors", &tensors);
    desk.tensors("two.safetensors", &tensors[..3]);
    desk
}

#[test]
fn every_layer_is_measured_at_strength_1_with_its_alpha() {
    let json = desk().run("rank one.safetensors --json").json();
    let [linear, conv] = [0, 1].map(|index| &json["layers"][index]);
    // diag(3, 4)/2: singular values 2 and 1.5.
    let expected = [
        ("rank", 2.0),
        ("rank_bound", 2.0),
        ("parameters", 14.0),
        ("stable_rank", 1.5625),
        ("rank_90", 2.0),
        ("rank_99", 2.0),
        ("frobenius", 2.5),
        ("spectral", 2.0),
    ];
    for (field, value) in expected {
        assert!((linear[field].as_f64().unwrap() - value).abs() < 1e-12, "{field}: {linear}");
    }
    assert_eq!(linear["shape"], serde_json::json!([3, 4]));
    assert!(linear.get("unfoldings").is_none() && linear.get("against_base").is_none());
    assert_eq!(conv["algorithm"], "lora");
    for unfolding in ["input", "kernel"] {
        assert_eq!(conv["unfoldings"][unfolding]["rank"], 1, "{conv}");
        assert_eq!(conv["unfoldings"][unfolding]["frobenius"], conv["frobenius"]);
    }
    assert_eq!(json["total"]["rank"], 3);
}

#[test]
fn a_zero_update_has_rank_0() {
    let desk = Desk::new();
    let zero = [("m.diff", TensorData::from([[0.0f32; 3]; 2]))];
    desk.tensors("zero.safetensors", &zero);
    let json = desk.run("rank zero.safetensors --json").json();
    for field in ["rank", "stable_rank", "effective_rank", "rank_90", "frobenius"] {
        assert_eq!(json["layers"][0][field].as_f64(), Some(0.0), "{field}");
    }
}

#[test]
fn updates_are_held_against_the_base() {
    let desk = desk();
    let identity = [[2.0f32, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
    desk.tensors("base.safetensors", &[("a.weight", TensorData::from(identity))]);
    desk.tensors("full.safetensors", &[("a.diff", TensorData::from(identity))]);
    let json = desk.run("rank full.safetensors --base base.safetensors --json").json();
    let against = &json["layers"][0]["against_base"];
    assert_eq!(against["relative_frobenius"], 1.0);
    assert_eq!(against["relative_spectral"], 1.0);
    assert_eq!(against["intruders"][2], serde_json::json!([0.5, 0]));
}

#[test]
fn two_files_stand_side_by_side_as_a_table_csv_and_a_page() {
    let desk = desk();
    let out = desk.run("rank one.safetensors --compare two.safetensors").succeeds();
    assert!(
        out.contains("rank A") && out.contains("lora | lora") && out.contains("lora | –"),
        "{out}"
    );
    let csv = desk.run("rank one.safetensors --csv --html page.html").succeeds();
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("layer,algorithm,shape,parameters,bound,rank,"), "{csv}");
    let page = std::fs::read_to_string(desk.path("page.html")).unwrap();
    assert!(page.contains("lora_unet_a") && page.contains("<svg") && !page.contains("http"));
    desk.run("rank one.safetensors --html page.html").fails();
    desk.run("rank one.safetensors --html page.html --overwrite").succeeds();
    desk.misuse("rank one.safetensors --html one.safetensors");
    desk.misuse("rank one.safetensors --json --csv");
}

#[test]
fn bad_files_are_refused_in_a_line() {
    let desk = Desk::new();
    desk.tensors("nan.safetensors", &[("m.diff", TensorData::from([[1.0f32, f32::NAN]]))]);
    let message = desk.refusal("rank nan.safetensors");
    assert!(message.contains("nan.safetensors") && message.contains("NaN"), "{message}");
    desk.tensors("model.safetensors", &[("a.weight", TensorData::from([[1.0f32]]))]);
    let message = desk.refusal("rank model.safetensors");
    assert!(message.contains("model.safetensors"), "{message}");
}
