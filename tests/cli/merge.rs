use std::fs;

use burn::tensor::TensorData;

use super::run::{BINARY, Desk, reference, relative};

/// A base of two layers and adapters for them.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.tensors(
        "base.safetensors",
        &[
            ("l.weight", TensorData::from([[1.0f32, 2.0], [3.0, 4.0]])),
            ("m.weight", TensorData::from([[5.0f32, 6.0]])),
        ],
    );
    desk.tensors("a", &[("lycoris_l.diff", TensorData::from([[1.0f32, 0.0], [0.0, 10.0]]))]);
    desk.tensors("b", &[("lycoris_m.diff", TensorData::from([[100.0f32, 200.0]]))]);
    desk
}

#[test]
fn files_of_lycoris_merge_to_the_weights_that_it_acts_with() {
    let desk = Desk::new();
    let base = reference("base.safetensors");
    for (case, strength) in [
        ("lora", "0.6"),
        ("loha_tucker", "1"),
        ("lokr_tucker", "0.6"),
        ("lokr_dora_in", "1"),
        ("boft", "0.6"),
        ("ia3_input", "1"),
        ("full", "1"),
        ("norm", "0.6"),
        ("tlora_principal", "1"),
    ] {
        let adapter = reference(&format!("{case}.safetensors"));
        let command = format!("merge {base} {adapter}:{strength} -o merged --overwrite");
        let out = desk.run(&command).succeeds();
        assert!(out.contains("modules of lycoris"), "{out}");
        let expected = reference(&format!("{case}.expected.safetensors"));
        let expected = higanbana_io::Checkpoint::open(expected).unwrap();
        let suffix = format!("@{strength}");
        let mut compared = 0;
        for name in expected.names() {
            let Some(key) = name.strip_suffix(&suffix) else { continue };
            let there: Vec<f64> = expected.read(name).unwrap().iter().collect();
            let deviation = relative(&desk.values("merged", key), &there);
            assert!(deviation <= 1e-5, "{case} {name}: {deviation:.1e}");
            compared += 1;
        }
        assert!(compared > 0, "{case}");
    }
}

#[test]
fn several_adapters_add_with_their_own_strengths() {
    let desk = desk();
    let out = desk.run("merge base.safetensors a:2 b a:-1 --multiplier 0.5 -o merged").succeeds();
    assert_eq!(desk.values("merged", "l.weight"), [2.0, 2.0, 3.0, 14.0]);
    assert_eq!(desk.values("merged", "m.weight"), [55.0, 106.0]);
    assert_eq!(desk.open("merged").metadata()["name"], "base.safetensors");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "a at 2: 1 module of lycoris for 1 tensor of the base");
    assert_eq!(lines[1], "b at 0.5: 1 module of lycoris for 1 tensor of the base");
    assert_eq!(lines[2], "a at -1: 1 module of lycoris for 1 tensor of the base");
    assert!(lines[3].starts_with("merged: 2 of 2 tensors changed, in "), "{out}");
}

#[test]
fn a_file_that_is_there_is_meant_by_its_whole_name() {
    let desk = desk();
    fs::rename(desk.path("a"), desk.path("a:0.5")).unwrap();
    desk.run("merge base.safetensors a:0.5 -o merged").succeeds();
    assert_eq!(desk.values("merged", "l.weight"), [2.0, 2.0, 3.0, 14.0]);
    desk.run("merge base.safetensors a:0.5:2 -o twice").succeeds();
    assert_eq!(desk.values("twice", "l.weight"), [3.0, 2.0, 3.0, 24.0]);
    let message = desk.refusal("merge base.safetensors b:c:0.5 -o out");
    assert!(message.starts_with("b:c: cannot be opened"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_cannot_be_written_is_told_from_the_output() {
    let desk = desk();
    let script = "exec \"$0\" \"$@\" > /dev/full";
    let arguments = ["-c", script, BINARY, "merge", "base.safetensors", "a", "-o", "merged"];
    let message = desk.command(std::process::Command::new("sh").args(arguments)).fails();
    assert!(message.starts_with("standard output: the report cannot be written; "), "{message}");
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(desk.values("merged", "l.weight"), [2.0, 2.0, 3.0, 14.0]);
}

#[test]
fn a_negative_multiplier_takes_away_and_zero_copies() {
    let desk = desk();
    desk.run("merge base.safetensors a --multiplier -1 -o less").succeeds();
    assert_eq!(desk.values("less", "l.weight"), [0.0, 2.0, 3.0, -6.0]);
    desk.run("merge less a:1 --precise -o again").succeeds();
    let base = fs::read(desk.path("base.safetensors")).unwrap();
    assert_eq!(fs::read(desk.path("again")).unwrap(), base);
    let out = desk.run("merge base.safetensors a:0 b:0 -o none").succeeds();
    assert!(out.contains("none: 0 of 2 tensors changed"), "{out}");
    assert_eq!(fs::read(desk.path("none")).unwrap(), base);
}

#[test]
fn json_says_what_was_done() {
    let desk = desk();
    desk.tensors(
        "c",
        &[
            ("lycoris_l.diff", TensorData::from([[0.0f32, 0.0], [0.0, 0.0]])),
            ("lycoris_k.diff", TensorData::from([[0.0f32]])),
        ],
    );
    let run = desk.run("merge base.safetensors a:0.5 c -o merged --json --allow-incomplete");
    let json = run.json();
    assert_eq!((&json["tensors"], &json["changed"]), (&2.into(), &1.into()));
    assert_eq!(json["adapters"][0]["strength"], 0.5);
    assert_eq!(json["adapters"][1]["leftovers"][0]["name"], "lycoris_k");
    assert!(json["seconds"].as_f64().unwrap() > 0.0);
    assert!(
        run.err().starts_with("warning: c: no use for 1 of its modules and tensors\n  lycoris_k: ")
    );
}

#[test]
fn the_first_ten_reasons_are_listed_and_refused() {
    let desk = desk();
    let zero = || TensorData::from([[0.0f32]]);
    let layers: Vec<String> = (0..12).map(|i| format!("n{i}.weight")).collect();
    let keys: Vec<String> = (0..12).map(|i| format!("lycoris_n{i}_x.diff")).collect();
    let write = |name: &str, keys: &[String], of_m: &str| {
        let mut tensors: Vec<_> = keys.iter().map(|key| (key.as_str(), zero())).collect();
        tensors.push((of_m, TensorData::from([[1.0f32, 1.0]])));
        desk.tensors(name, &tensors);
    };
    write("base", &layers, "m.weight");
    write("many", &keys, "lycoris_m.diff");
    let run = desk.run("merge base many -o merged --allow-incomplete");
    run.succeeds();
    let err: Vec<String> = run.err().lines().map(String::from).collect();
    assert_eq!(err[0], "warning: many: no use for 12 of its modules and tensors");
    assert!(
        err[1].starts_with("  lycoris_n0_x: not in the base; nearest: lycoris_n0, "),
        "{err:?}"
    );
    assert_eq!((err.len(), &*err[11]), (12, "  ... and 2 more"));
    // What has one reason has one line.
    let run = desk.run("merge base.safetensors a many -o merged --overwrite --allow-incomplete");
    run.succeeds();
    assert!(run.err().lines().count() < 12, "{}", run.err());
    let message = desk.refusal("merge base.safetensors a many -o whole");
    assert_eq!(
        message,
        "many: no use for 12 of its modules and tensors; pass --allow-incomplete to go on without them"
    );
    desk.run("merge base.safetensors a b -o whole").succeeds();
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let desk = desk();
    let good = fs::read(desk.path("a")).unwrap();
    desk.bytes("empty", b"");
    desk.bytes("truncated", &good[..good.len() - 1]);
    desk.bytes("pickle", b"\x80\x02}q\x00X............");
    desk.bytes("garbage", &[0xff; 64]);
    let nan = TensorData::from([[0.0f32, f32::NAN], [0.0, 0.0]]);
    desk.tensors("nan", &[("lycoris_l.diff", nan.clone())]);
    desk.tensors("shape", &[("lycoris_l.diff", TensorData::from([[0.0f32]]))]);
    desk.tensors("unknown", &[("lycoris_l.weft", TensorData::from([[0.0f32]]))]);
    desk.tensors("other", &[("lycoris_q_proj.diff", TensorData::from([[0.0f32]]))]);
    for (file, begin) in [
        ("empty", "empty: is empty; "),
        ("truncated", "truncated: is truncated, "),
        ("pickle", "pickle: cannot be read as a PyTorch file ("),
        ("garbage", "garbage: is of an unknown format, no file of weights that is read; "),
        ("none", "none: cannot be opened (No such file"),
        (".", ".: is a directory without weights"),
        ("nan", "nan: tensor \"lycoris_l.diff\" is NaN at element 1; "),
        ("shape", "shape: lycoris_l.diff: shape [1, 1] does not fit, expected [2, 2]; "),
        ("unknown", "unknown: holds no adapter, its only tensor belongs to none ("),
        ("other", "other: its only module does not fit base.safetensors: lycoris_q_proj: "),
    ] {
        let message = desk.refusal(&format!("merge base.safetensors a {file} -o merged"));
        assert!(message.starts_with(begin), "{message}");
    }
    for (file, begin) in [("empty", "empty: is empty"), ("none", "none: cannot be opened")] {
        let message = desk.refusal(&format!("merge {file} a -o merged"));
        assert!(message.starts_with(begin), "{message}");
    }
    desk.tensors("base-nan", &[("l.weight", nan)]);
    let message = desk.refusal("merge base-nan a -o merged");
    assert!(
        message.starts_with("base-nan: tensor \"l.weight\" is NaN at element 1; "),
        "{message}"
    );
}

#[test]
fn an_existing_output_is_replaced_only_when_asked() {
    let desk = desk();
    desk.bytes("mine", b"mine");
    let message = desk.refusal("merge base.safetensors a -o mine");
    assert_eq!(message, "mine: exists already; name another output or pass --overwrite");
    assert_eq!(fs::read(desk.path("mine")).unwrap(), b"mine");
    desk.run("merge base.safetensors a -o mine --overwrite").succeeds();
    assert_eq!(desk.values("mine", "l.weight"), [2.0, 2.0, 3.0, 14.0]);
    // Never an input, whatever it is called.
    for input in ["base.safetensors", "./a"] {
        let message = desk.misuse(&format!("merge base.safetensors a -o {input} --overwrite"));
        assert!(message.contains(&format!("{input}: is an input; name another")), "{message}");
    }
    let message = desk.misuse("merge base.safetensors a -o -");
    assert!(message.contains("-: an output is a file, not standard output"), "{message}");
}

#[test]
fn a_folder_that_is_missing_or_takes_no_files_is_named() {
    let desk = desk();
    let message = desk.refusal("merge base.safetensors a -o no/where");
    assert!(message.starts_with("no/where: its folder no does not exist; "), "{message}");
    if cfg!(target_os = "linux") {
        let message = desk.refusal("merge base.safetensors a -o /proc/merged");
        assert!(message.starts_with("/proc/merged: cannot be written ("), "{message}");
        assert!(message.ends_with("; choose a writable folder"), "{message}");
        assert!(!message.contains(".higanbana-"), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_leaves_nothing_behind() {
    let desk = Desk::new();
    desk.tensors("base", &[("l.weight", TensorData::zeros::<f32, _>([1 << 10, 1 << 10]))]);
    desk.tensors("a", &[("lycoris_l.diff", TensorData::zeros::<f32, _>([1 << 10, 1 << 10]))]);
    let message = desk.run_without_room("merge base a -o merged").fails();
    assert!(message.starts_with("merged: cannot be written ("), "{message}");
    assert!(message.ends_with("free some space or choose another folder"), "{message}");
    assert_eq!(desk.listing(), ["a", "base"]);
}

#[test]
fn wrong_usage_is_exit_code_two() {
    let desk = desk();
    for (arguments, part) in [
        ("merge base.safetensors -o out", "<ADAPTER[:MU]>"),
        ("merge base.safetensors a", "--output <OUT>"),
        ("merge base.safetensors a:nan -o out", "a strength is a number such as 0.8 or -1"),
        (
            "merge base.safetensors a:abc -o out",
            "a strength is a number such as 0.8 or -1, not \"abc\"",
        ),
        ("merge base.safetensors a: -o out", "a strength is a number such as 0.8 or -1, not \"\""),
        ("merge base.safetensors a --multiplier much -o out", "a strength is a number"),
        ("merge base.safetensors a --weight 1 -o out", "--weight"),
    ] {
        let err = desk.run(arguments).is_misused();
        assert!(err.contains(part), "{err}");
    }
    let message = desk.misuse("merge base.safetensors a -o out --device abacus");
    assert!(message.starts_with("error: unknown device `abacus`"), "{message}");
}

#[test]
fn a_stray_key_beside_what_follows_from_the_base_is_refused() {
    let desk = Desk::new();
    let (base, adapter) = (reference("base.safetensors"), reference("tlora_principal.safetensors"));
    let original = higanbana_io::Checkpoint::open(adapter).unwrap();
    let mut tensors: Vec<(&str, TensorData)> =
        original.names().iter().map(|key| (key.as_str(), original.read(key).unwrap())).collect();
    tensors.push(("lycoris_lin.hada_t1", TensorData::from([1.0f32])));
    desk.tensors("stray", &tensors);
    let message = desk.refusal(&format!("merge {base} stray -o out"));
    assert!(message.starts_with("stray: no use for 1 of its modules and tensors; "), "{message}");
    let message = desk.refusal("inspect stray --strict");
    assert!(message.starts_with("stray: no use for 1 of its modules and tensors; "), "{message}");
}

#[test]
fn what_belongs_to_a_model_that_the_base_lacks_is_one_line() {
    let desk = Desk::new();
    let name = |layer| format!("lora_te_text_model_encoder_layers_{layer}_mlp_fc1.diff");
    let names: Vec<String> = (0..12).map(name).collect();
    let zero = || TensorData::from([[0.0f32]]);
    desk.tensors("unet", &[("conv_in.weight", zero()), ("mid_block.proj.weight", zero())]);
    desk.tensors("text", &[("text_model.encoder.layers.0.mlp.fc1.weight", zero())]);
    let mut tensors: Vec<_> = names.iter().map(|name| (name.as_str(), zero())).collect();
    tensors.push(("lora_unet_mid_block_proj.diff", zero()));
    desk.tensors("both", &tensors);
    let run = desk.run("merge unet both -o merged");
    run.succeeds();
    assert_eq!(
        run.err(),
        "note: both: no use for 12 of its modules and tensors\n  \
         lora_te_text_model_encoder_layers_0_mlp_fc1 and 11 more: of the text encoder, which the base \
         lacks (give one that has it)\n"
    );
    let run = desk.run("merge text both -o merged-text --allow-incomplete");
    run.succeeds();
    assert!(run.err().contains("lora_unet_mid_block_proj: of the UNet, which the base"));
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_replaced_and_links_are_followed() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let desk = desk();
    let _listener = UnixListener::bind(desk.path("socket")).unwrap();
    symlink("nowhere", desk.path("dangling")).unwrap();
    symlink("socket", desk.path("pipe")).unwrap();
    let message = desk.refusal("merge base.safetensors a -o socket");
    assert!(message.starts_with("socket: is not a regular file"), "{message}");
    for output in ["socket", "dangling", "pipe"] {
        let command = format!("merge base.safetensors a -o {output} --overwrite");
        let message = desk.refusal(&command);
        assert!(message.starts_with(&format!("{output}: is not a regular file")), "{message}");
    }
    fs::create_dir(desk.path("folder")).unwrap();
    desk.bytes("folder/mine", b"mine");
    symlink("folder/mine", desk.path("link")).unwrap();
    desk.run("merge base.safetensors a -o link --overwrite").succeeds();
    assert!(desk.path("link").is_symlink());
    assert_eq!(desk.values("folder/mine", "l.weight"), [2.0, 2.0, 3.0, 14.0]);
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_nothing_behind() {
    use std::{
        process::{Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };
    let desk = Desk::new();
    // Large enough to be still at it.
    let weight = TensorData::zeros::<f32, _>([1 << 12, 1 << 12]);
    let keys: Vec<String> = (0..8).map(|i| format!("l{i}.weight")).collect();
    let tensors: Vec<_> = keys.iter().map(|key| (key.as_str(), weight.clone())).collect();
    desk.tensors("base", &tensors);
    let keys: Vec<String> = (0..8).map(|i| format!("lycoris_l{i}.diff")).collect();
    let tensors: Vec<_> = keys.iter().map(|key| (key.as_str(), weight.clone())).collect();
    desk.tensors("a", &tensors);
    for signal in ["INT", "TERM", "HUP"] {
        let mut merge = Command::new(BINARY);
        merge.args(["merge", "base", "a", "-o", "out"]).stderr(Stdio::piped());
        let child = merge.current_dir(desk.path("")).spawn().unwrap();
        let begin = Instant::now();
        while desk.listing().len() == 2 {
            assert!(begin.elapsed() < Duration::from_secs(60), "no temporary file appears");
            sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(err, "error: interrupted; nothing half-written is left\n", "{signal}");
        assert!(output.status.code() > Some(128), "{signal}: {}", output.status);
        assert_eq!(desk.listing(), ["a", "base"], "{signal}");
    }
}
