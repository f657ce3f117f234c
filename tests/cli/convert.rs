use burn::tensor::TensorData;

use super::run::{Desk, reference, relative};

#[test]
fn every_dialect_gives_the_same_weights() {
    let desk = Desk::new();
    let (base, adapter) = (reference("base.safetensors"), reference("lora.safetensors"));
    desk.run(&format!("merge {base} {adapter} -o before")).succeeds();
    for to in ["lycoris", "kohya", "diffusers", "peft"] {
        // PEFT's configuration is looked for beside the file.
        let folder = desk.path(to);
        std::fs::create_dir(&folder).unwrap();
        let out = desk
            .run(&format!(
                "convert {adapter} --to {to} --base {base} -o {to}/adapter_model.safetensors"
            ))
            .succeeds();
        assert!(out.contains(&format!("tensors of {to}")), "{out}");
        assert_eq!(folder.join("adapter_config.json").exists(), to == "peft");
        let path = format!("{to}/adapter_model.safetensors");
        desk.run(&format!("merge {base} {path} -o after --overwrite")).succeeds();
        for key in desk.open("before").names() {
            let deviation = relative(&desk.values("after", key), &desk.values("before", key));
            assert!(deviation < 1e-6, "{to} {key}: {deviation:.1e}");
        }
    }
}

#[test]
fn baking_says_what_it_costs() {
    let desk = Desk::new();
    let (base, adapter) = (reference("base.safetensors"), reference("loha.safetensors"));
    let convert = |rest: &str| desk.run(&format!("convert {adapter} --base {base} {rest}"));
    let message = convert("--to diffusers -o out").fails();
    assert!(
        message
            .ends_with("bake it with --bake lora --rank R, or choose --to lycoris or --to kohya"),
        "{message}"
    );
    let json = convert("--to diffusers --bake lora --rank 6 -o lora --json").json();
    let cost = json["total"]["relative_error"].as_f64().unwrap();
    assert!(cost > 0.01 && cost < 0.9, "{cost}");
    // What it says is what a merge shows.
    desk.run(&format!("merge {base} {adapter} -o before")).succeeds();
    desk.run(&format!("merge {base} lora -o after")).succeeds();
    let original = higanbana_io::Checkpoint::open(&base).unwrap();
    let (mut lost, mut whole) = (0.0, 0.0);
    for key in original.names() {
        let (before, after) = (desk.values("before", key), desk.values("after", key));
        let w0: Vec<f64> = original.read(key).unwrap().iter().collect();
        for ((w, there), w0) in after.iter().zip(&before).zip(&w0) {
            lost += (w - there).powi(2);
            whole += (there - w0).powi(2);
        }
    }
    let seen = f64::sqrt(lost / whole);
    assert!((seen - cost).abs() < 1e-5, "{seen} {cost}");

    let out = convert("--to kohya --bake diff -o diff").succeeds();
    assert!(out.ends_with("updates baked, relative error 0\n"), "{out}");
    let out = convert("--to kohya --bake diff --dtype f16 -o half").succeeds();
    assert!(out.contains("relative error 0.0"), "{out}");
    assert!(desk.open("diff").names().iter().all(|key| key.ends_with(".diff")));
}

#[test]
fn what_is_asked_for_in_vain_is_refused_in_one_line() {
    let desk = Desk::new();
    let (lokr, lora) = (reference("lokr.safetensors"), reference("lora.safetensors"));
    let ia3 = reference("ia3_output.safetensors");
    desk.tensors("other", &[("k.weight", TensorData::from([[1.0f32]]))]);
    let before = desk.listing();
    for (arguments, part) in [
        (format!("{lora} --to diffusers -o out"), "name the model with --base FILE"),
        (format!("{lora} --to kohya --base other -o out"), ": not in the base; nearest: "),
        (
            format!("{lokr} --to kohya --bake lora --rank 1 -o out"),
            "name the base with --base FILE",
        ),
        (format!("{ia3} --to kohya --bake diff -o out"), "ia3 follows from the base weight"),
        (format!("{lora} --to kohya -o other"), "other: exists already"),
        ("other --to kohya -o out".to_string(), "other: holds no adapter"),
    ] {
        let message = desk.run(&format!("convert {arguments}")).fails();
        assert!(message.contains(part), "{arguments}: {message}");
        let named = arguments.split(' ').next().unwrap();
        assert!(
            message.starts_with(&format!("{named}: ")) || part.starts_with("other: "),
            "{message}"
        );
        assert_eq!(desk.listing(), before);
    }
    for (arguments, part) in [
        ("--rank 4 -o out", "add --bake ALGORITHM"),
        ("--bake lora -o out", "how much shall lora keep?"),
        ("--bake diff --rank 4 -o out", "full keeps everything"),
        ("--base other -o other --overwrite", "other: is an input; name another output"),
    ] {
        let message = desk.misuse(&format!("convert {lora} --to kohya {arguments}"));
        assert!(message.contains(part), "{arguments}: {message}");
    }
    let message = desk.run(&format!("convert {lora} --to webui -o out")).is_misused();
    assert!(message.contains("choose lycoris, kohya, diffusers, peft"), "{message}");
    let message = desk.run(&format!("convert {lora} --to kohya --bake boft -o out")).is_misused();
    assert!(message.contains("boft cannot be fitted"), "{message}");
}

#[test]
fn what_has_no_use_is_said_and_refused() {
    let desk = Desk::new();
    desk.tensors(
        "stray",
        &[
            ("lycoris_l.diff", TensorData::from([[1.0f32]])),
            ("lycoris_l.hada_t1", TensorData::from([1.0f32])),
            ("lycoris_l.weft", TensorData::from([1.0f32])),
        ],
    );
    let command = "convert stray --to kohya --bake diff -o out";
    let message = desk.refusal(command);
    assert!(message.starts_with("stray: no use for 2 of its modules and tensors; "), "{message}");
    assert_eq!(desk.listing(), ["stray"]);
    let run = desk.run(&format!("{command} --json --allow-incomplete"));
    assert!(run.err().contains("lycoris_l.hada_t1: not used by its adapter"), "{}", run.err());
    let json = run.json();
    let names = json["leftovers"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|left| left["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lycoris_l.weft", "lycoris_l.hada_t1"]);
    assert_eq!(json["notes"], serde_json::json!([]));
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_leaves_nothing_behind() {
    let desk = Desk::new();
    desk.tensors("a", &[("lycoris_l.diff", TensorData::zeros::<f32, _>([1 << 10, 1 << 10]))]);
    let message = desk.run_without_room("convert a --to kohya -o out").fails();
    assert!(message.starts_with("out: cannot be written ("), "{message}");
    assert_eq!(desk.listing(), ["a"]);
}
