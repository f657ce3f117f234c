//! Pickles, directories, counted pairs and layers that do not fit, as a user meets them.

use std::fs;

use burn::tensor::TensorData;

use super::run::Desk;

fn low_rank(desk: &Desk, name: &str, [b, a]: [&str; 2], input: usize) {
    let up = TensorData::new(vec![0.5f32, 1.0], vec![2, 1]);
    let down = TensorData::new(vec![1.0f32; input], vec![1, input]);
    desk.tensors(name, &[(b, up), (a, down)]);
}

#[test]
fn a_directory_is_taken_wherever_a_file_is() {
    let desk = Desk::new();
    for folder in ["unet", "peft"] {
        fs::create_dir(desk.path(folder)).unwrap();
    }
    let ones = || TensorData::from([[1.0f32, 1.0], [1.0, 1.0]]);
    let weight = "mid_block.a.weight";
    desk.tensors("unet/diffusion_pytorch_model.safetensors", &[(weight, ones())]);
    let names =
        ["lora_B.weight", "lora_A.weight"].map(|it| format!("base_model.model.mid_block.a.{it}"));
    low_rank(&desk, "peft/adapter_model.safetensors", [&names[0], &names[1]], 2);
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2}"#;
    fs::write(desk.path("peft/adapter_config.json"), config).unwrap();

    desk.run("merge unet peft:0.5 -o merged").succeeds();
    assert_eq!(desk.values("merged", weight), [1.5, 1.5, 2.0, 2.0]);
    for command in [
        "inspect peft",
        "inspect peft --base unet",
        "inspect unet",
        "rank peft",
        "convert peft --to kohya --base unet -o kohya",
        "convert peft --to kohya --base unet --bake lora --rank 1 -o baked",
        "extract unet merged --adapter lora --rank 1 -o extracted",
    ] {
        desk.run(command).succeeds();
    }
    fs::create_dir(desk.path("empty")).unwrap();
    let message = desk.run("inspect empty").fails();
    assert!(message.starts_with("empty: is a directory without weights"), "{message}");
}

#[test]
fn a_layer_that_does_not_fit_is_refused_padded_or_left_out() {
    let desk = Desk::new();
    let wide = TensorData::new(vec![1.0f32; 6], vec![2, 3, 1, 1]);
    let square = TensorData::from([[1.0f32, 1.0], [1.0, 1.0]]);
    desk.tensors("base", &[("conv_in.weight", wide), ("l.weight", square)]);
    let conv = |name: &str| format!("lycoris_conv_in.{name}.weight");
    let linear = |name: &str| format!("lycoris_l.{name}.weight");
    let ones = |shape: Vec<usize>| TensorData::new(vec![1.0f32; shape.iter().product()], shape);
    desk.tensors(
        "a",
        &[
            (&conv("lora_up"), ones(vec![2, 1, 1, 1])),
            (&conv("lora_down"), ones(vec![1, 2, 1, 1])),
            (&linear("lora_up"), ones(vec![2, 1])),
            (&linear("lora_down"), ones(vec![1, 2])),
        ],
    );
    let message = desk.run("merge base a -o merged").fails();
    assert!(
        message.contains("--leave-out lycoris_conv_in") && message.contains("--pad"),
        "{message}"
    );
    assert!(!desk.path("merged").exists());

    desk.run("merge base a --pad -o padded").succeeds();
    assert_eq!(desk.values("padded", "conv_in.weight"), [2.0, 2.0, 1.0, 2.0, 2.0, 1.0]);
    let run = desk.run("merge base a --leave-out lycoris_conv_in -o without");
    run.succeeds();
    assert!(run.err().contains("note: a: lycoris_conv_in is left out, as asked"), "{}", run.err());
    assert_eq!(desk.values("without", "conv_in.weight"), [1.0; 6]);
    assert_eq!(desk.values("without", "l.weight"), desk.values("padded", "l.weight"));
}

/// A file of `tests/reference/formats`.
fn fixture(name: &str) -> String {
    format!("{}/../../tests/reference/formats/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn pickles_are_bases_and_adapters() {
    let desk = Desk::new();
    // Its layer `a` is 6x4, and its elements are quarters.
    let up = TensorData::new(vec![1.0f32; 6], vec![6, 1]);
    let down = TensorData::new(vec![1.0f32; 4], vec![1, 4]);
    desk.tensors(
        "a",
        &[("lora_unet_a.lora_up.weight", up), ("lora_unet_a.lora_down.weight", down)],
    );
    let key = "model.diffusion_model.a.weight";
    let before = desk.open(&fixture("expected.safetensors")).read(key).unwrap();
    let expected: Vec<f64> = before.iter::<f64>().map(|x| x + 1.0).collect();
    for base in ["whole.ckpt", "legacy.ckpt", "weights.bin"] {
        desk.run(&format!("merge {} a --overwrite -o merged", fixture(base))).succeeds();
        assert_eq!(desk.values("merged", key), expected, "{base}");
        let run = desk.run(&format!("inspect {}", fixture(base)));
        assert!(run.succeeds().contains("12 tensors"), "{}", run.out());
    }
    desk.run(&format!("convert {} --to lycoris -o converted", fixture("counted.pt"))).succeeds();
    let converted = desk.open("converted");
    let ups = converted.names().iter().filter(|name| name.ends_with(".lora_up.weight"));
    assert_eq!(ups.count(), 10);
    let out = desk.run(&format!("inspect {}", fixture("counted.text_encoder.pt"))).succeeds();
    assert!(out.contains("5 modules of kohya"), "{out}");
    desk.run(&format!("rank {}", fixture("counted.pt"))).succeeds();
}

#[test]
fn a_pickle_that_would_do_harm_is_refused_and_does_none() {
    let desk = Desk::new();
    for name in ["hostile.pt", "hostile_root.pt"] {
        let message = desk.refusal(&format!("inspect {}", fixture(name)));
        assert!(message.contains("posix.system"), "{message}");
    }
    assert!(desk.listing().is_empty());
}
