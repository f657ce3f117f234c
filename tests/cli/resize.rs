use burn::tensor::TensorData;

use super::run::{Desk, reference};

/// A file of two modules: one of rank 2 with alpha 1, its singular values 4 and 2; one without rank.
fn desk() -> Desk {
    let desk = Desk::new();
    let alpha = TensorData::new(vec![1.0f32], [0usize; 0]);
    desk.tensors(
        "adapter",
        &[
            ("lycoris_l.alpha", alpha),
            ("lycoris_l.lora_down.weight", TensorData::from([[4.0f32, 0.0, 0.0], [0.0, 2.0, 0.0]])),
            ("lycoris_l.lora_up.weight", TensorData::from([[2.0f32, 0.0], [0.0, 2.0]])),
            ("lycoris_n.w_norm", TensorData::from([1.0f32, 2.0])),
        ],
    );
    desk.tensors(
        "base",
        &[
            ("l.weight", TensorData::from([[0.0f32; 3]; 2])),
            ("n.weight", TensorData::from([0.0f32; 2])),
        ],
    );
    desk
}

#[test]
fn the_largest_part_of_the_update_is_kept_whatever_alpha_was() {
    let desk = desk();
    let out = desk.run("resize adapter --rank 1 -o small").succeeds();
    let row: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    // α/r = 1/2 of 8 and 4: 4 is kept, 2 is lost.
    assert_eq!(row, ["lycoris_l", "lora", "2×3", "1", "5", "4.4721", "44.72", "%"]);
    assert!(out.contains("small: 1 adapter, 5 parameters"), "{out}");
    assert!(out.contains("relative error 44.72 %"), "{out}");
    assert!(out.ends_with("1 module has no rank and stays as it is\n"), "{out}");
    desk.run("merge base small -o merged").succeeds();
    for (w, there) in desk.values("merged", "l.weight").iter().zip([4.0, 0.0, 0.0, 0.0, 0.0, 0.0]) {
        assert!((w - there).abs() < 1e-6);
    }
    assert_eq!(desk.values("merged", "n.weight"), [1.0, 2.0]);
    assert_eq!(desk.values("small", "lycoris_l.alpha"), [1.0]);
    assert_eq!(desk.open("small").metadata()["ss_network_dim"], "1");
}

#[test]
fn energy_decides_and_json_tells() {
    let desk = desk();
    // 16/20 of the energy is in the first.
    for (energy, rank) in [("0.8", 1), ("0.81", 2)] {
        let command =
            format!("resize adapter --energy {energy} -o out --overwrite --json --precise");
        let json = desk.run(&command).json();
        assert_eq!(json["layers"][0]["rank"], rank);
        assert_eq!(json["kept"][0], "lycoris_n");
    }
    let json = desk.run("resize adapter --rank 8 -o same --json").json();
    assert_eq!(json["total"]["relative_error"], 0.0);
    for key in ["lycoris_l.lora_up.weight", "lycoris_l.alpha", "lycoris_n.w_norm"] {
        assert_eq!(desk.values("same", key), desk.values("adapter", key));
    }
}

#[test]
fn what_would_not_be_smaller_stays_and_is_said() {
    let desk = Desk::new();
    let adapter = reference("lora_tucker.safetensors");
    let out = desk.run(&format!("resize {adapter} --rank 2 -o out")).succeeds();
    let json = desk.run(&format!("resize {adapter} --rank 2 -o again --json")).json();
    let stay = match json["not_smaller"].as_array().unwrap().len() {
        0 => panic!("{json}"),
        1 => "1 module would not be smaller and stays as it is\n".to_string(),
        count => format!("{count} modules would not be smaller and stay as they are\n"),
    };
    assert!(out.ends_with(&stay), "{out}");
}

#[test]
fn what_cannot_be_resized_is_refused_in_one_line() {
    let desk = desk();
    desk.tensors("rankless", &[("lycoris_n.w_norm", TensorData::from([1.0f32]))]);
    for (arguments, part) in [
        ("rankless --rank 1 -o out".to_string(), "rankless: none of its modules has a rank"),
        ("base --rank 1 -o out".into(), "base: holds no adapter"),
        ("adapter --rank 1 -o base".into(), "base: exists already"),
        (
            format!("{} --rank 1 -o out", reference("lora_dora_out.safetensors")),
            "follows from the base weight; name the base with --base FILE",
        ),
    ] {
        let message = desk.refusal(&format!("resize {arguments}"));
        assert!(message.contains(part), "{arguments}: {message}");
    }
    let message = desk.misuse("resize adapter -o out");
    assert!(message.contains("how much to keep? Give --rank R"), "{message}");
    let (adapter, base) = (reference("lora_dora_out.safetensors"), reference("base.safetensors"));
    desk.run(&format!("resize {adapter} --rank 1 --base {base} -o out")).succeeds();
}

#[test]
fn what_has_no_use_is_said_and_refused() {
    let desk = desk();
    let open = desk.open("adapter");
    let mut tensors: Vec<(&str, TensorData)> =
        open.names().iter().map(|key| (key.as_str(), open.read(key).unwrap())).collect();
    tensors.push(("lycoris_l.hada_t1", TensorData::from([1.0f32])));
    desk.tensors("stray", &tensors);
    let message = desk.refusal("resize stray --rank 1 -o out");
    assert!(message.starts_with("stray: no use for 1 of its modules and tensors; "), "{message}");
    let json = desk.run("resize stray --rank 1 -o out --allow-incomplete --json").json();
    assert_eq!(json["leftovers"][0]["name"], "lycoris_l.hada_t1");
    assert_eq!(json["notes"], serde_json::json!([]));
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_leaves_nothing_behind() {
    let desk = Desk::new();
    let wide = |shape: [usize; 2]| TensorData::ones::<f32, _>(shape);
    desk.tensors(
        "a",
        &[
            ("lycoris_l.lora_down.weight", wide([2, 8])),
            ("lycoris_l.lora_up.weight", wide([8, 2])),
            ("lycoris_n.w_norm", TensorData::ones::<f32, _>([1 << 20])),
        ],
    );
    let message = desk.run_without_room("resize a --rank 1 -o out").fails();
    assert!(message.starts_with("out: cannot be written ("), "{message}");
    assert_eq!(desk.listing(), ["a"]);
}

#[test]
fn an_input_s_configuration_is_not_replaced() {
    let desk = Desk::new();
    desk.tensors(
        "adapter_model.safetensors",
        &[
            ("base_model.model.l.lora_A.weight", TensorData::from([[4.0f32, 0.0], [0.0, 2.0]])),
            ("base_model.model.l.lora_B.weight", TensorData::from([[2.0f32, 0.0], [0.0, 2.0]])),
        ],
    );
    desk.bytes("adapter_config.json", br#"{"r": 2, "lora_alpha": 8}"#);
    for command in ["resize", "convert --to peft --bake lora"] {
        let command = format!("{command} adapter_model.safetensors --rank 1 --overwrite");
        let message = desk.misuse(&format!("{command} -o small.safetensors"));
        let expected = "adapter_config.json: belongs to an input; name an output in another folder";
        assert!(message.contains(expected), "{message}");
        std::fs::create_dir_all(desk.path("other")).unwrap();
        desk.run(&format!("{command} -o other/small.safetensors")).succeeds();
        std::fs::remove_dir_all(desk.path("other")).unwrap();
    }
    let config = std::fs::read(desk.path("adapter_config.json")).unwrap();
    assert_eq!(config, br#"{"r": 2, "lora_alpha": 8}"#);
}
