//! Streams that cannot be written, and what must not reach them.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use burn::tensor::TensorData;
use higanbana_io::writer::write_tensors;

use super::{
    run::{BINARY, Desk, Run},
    train,
};

/// Runs the binary in a shell, with some of its streams redirected.
fn redirected(desk: &Desk, arguments: &str, streams: &str) -> Run {
    let script = format!("exec \"$0\" \"$@\" {streams}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, BINARY]).args(arguments.split_whitespace());
    desk.command(command.env("RUST_LOG", "trace"))
}

fn adapter() -> [(&'static str, TensorData); 3] {
    [
        ("lycoris_l.alpha", TensorData::from([1.0f32])),
        ("lycoris_l.lora_down.weight", TensorData::from([[1.0f32, 0.0]])),
        ("lycoris_l.lora_up.weight", TensorData::from([[1.0f32], [2.0]])),
    ]
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_cannot_be_written_changes_no_exit_code() {
    let desk = train::desk();
    desk.tensors("a", &adapter());
    let train = "train run.toml --overwrite --set train.steps=1";
    for (arguments, code) in [
        (train, 0),
        ("inspect a", 0),
        ("inspect none", 1),
        ("inspect none none", 2),
        ("inspect", 2),
        ("sweep", 2),
    ] {
        // A full disk, closed before the start, open for reading alone.
        for streams in ["2>/dev/full", "2>&-", "2</dev/null", "2>/dev/full <&-", "<&- >&- 2>&-"] {
            let run = redirected(&desk, arguments, streams);
            assert_eq!(run.code(), Some(code), "{arguments} {streams}");
        }
    }
    for arguments in ["inspect a", "inspect a --json", "adapters", "--help", "--version"] {
        for streams in [">/dev/full", ">/dev/full 2>&1"] {
            let run = redirected(&desk, arguments, streams);
            assert_eq!(run.code(), Some(1), "{arguments} {streams}");
        }
        let run = redirected(&desk, arguments, "| head -c 1 >/dev/null");
        assert_eq!((run.code(), run.err().matches("error").count()), (Some(0), 0), "{arguments}");
    }
}

/// What a signal says is not worth waiting for: no reader of standard error may be left, or one that has
/// stopped to read.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_process_whatever_became_of_stderr() {
    use std::{
        io::Write,
        thread::sleep,
        time::{Duration, Instant},
    };
    /// Bytes that a pipe holds without a reader.
    const PIPE: usize = 1 << 16;
    let desk = Desk::new();
    let weight = TensorData::zeros::<f32, _>([1 << 12, 1 << 12]);
    let keys: Vec<String> = (0..8).map(|i| format!("l{i}.weight")).collect();
    let tensors: Vec<_> = keys.iter().map(|key| (key.as_str(), weight.clone())).collect();
    desk.tensors("base", &tensors);
    let keys: Vec<String> = (0..8).map(|i| format!("lycoris_l{i}.diff")).collect();
    let tensors: Vec<_> = keys.iter().map(|key| (key.as_str(), weight.clone())).collect();
    desk.tensors("a", &tensors);
    let (_reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; PIPE]).unwrap();
    let dead = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (signal, number, stderr) in [
        ("HUP", 1, Stdio::from(dead())),
        ("INT", 2, Stdio::from(writer.try_clone().unwrap())),
        ("TERM", 15, Stdio::from(writer)),
    ] {
        let mut merge = Command::new(BINARY);
        merge.args(["merge", "base", "a", "-o", "out"]).stderr(stderr);
        let mut child = merge.current_dir(desk.path("")).spawn().unwrap();
        let begin = Instant::now();
        let in_time =
            || assert!(begin.elapsed() < Duration::from_secs(60), "{signal}: still there");
        while desk.listing().len() == 2 {
            in_time();
            sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => in_time(),
            }
            sleep(Duration::from_millis(1));
        };
        assert_eq!(status.code(), Some(128 + number), "{signal}");
        assert_eq!(desk.listing(), ["a", "base"], "{signal}");
    }
}

/// What a terminal would obey, an example of each kind.
const STEERING: &str =
    "\u{1b}[2K\u{7}\r\u{85}\u{9b}1m\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}";

fn obeys(c: char) -> bool {
    c != '\n' && STEERING.contains(c) && !"[2K1m".contains(c)
}

#[test]
fn names_neither_steer_the_terminal_nor_forge_a_line() {
    let desk = Desk::new();
    let evil = format!("l{STEERING}\nerror: forged");
    let shown = "l\u{202e}\u{2067}\u{200e}".to_string();
    let mut tensors = BTreeMap::new();
    for name in [&evil, &shown] {
        for (key, data) in adapter() {
            tensors.insert(key.replace("lycoris_l", &format!("lycoris_{name}")), data);
        }
    }
    tensors.extend(adapter().map(|(key, data)| (key.to_string(), data)));
    let metadata = BTreeMap::from([(evil.clone(), evil.clone())]);
    // No folder holds a name with a slash; all else may stand in one.
    let file = format!("a{STEERING}\nerror: forged");
    write_tensors(&desk.path(&file), &tensors, &metadata, true).unwrap();
    write_tensors(&desk.path("base"), &tensors, &metadata, true).unwrap();
    let new = || format!("new{}", desk.listing().len());
    for arguments in [
        vec!["inspect", &file],
        vec!["inspect", &file, "--json"],
        vec!["inspect", &file, "--base", "base"],
        vec!["rank", &file],
        vec!["rank", &file, "--json"],
        vec!["rank", &file, "--csv"],
        vec!["merge", "base", &file, "-o", &new()],
        vec!["merge", &file, &evil, "-o", &new()],
        vec!["resize", &file, "--rank", "1", "-o", &new()],
        vec!["resize", &file, "--rank", &evil, "-o", &new()],
        vec!["convert", &file, "--to", "diffusers", "-o", &new()],
        vec!["convert", &file, "--to", &evil, "-o", &new()],
        vec!["extract", &file, "base", "--adapter", "lora", "--rank", "1", "-o", &new()],
        vec!["train", &file],
        vec!["generate", "--model", &file, "--prompt", &evil, "-o", &new()],
        vec!["sweep", "plan", &file, "-o", &new()],
        vec!["run", "--plan", &file, "--index", "0"],
        vec!["adapters", &evil],
        vec![&evil],
    ] {
        let run = desk.command(Command::new(BINARY).args(&arguments));
        for stream in [run.out(), run.err()] {
            let found = stream.chars().find(|c| obeys(*c));
            assert_eq!(found, None, "{arguments:?}: {stream:?}");
            let forged = stream.lines().find(|line| line.starts_with("error: forged"));
            assert_eq!(forged, None, "{arguments:?}: {stream:?}");
        }
        let errors = run.err().lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, usize::from(run.code() != Some(0)), "{arguments:?}: {}", run.err());
    }
    let inspect = |arguments: &[&str]| desk.command(Command::new(BINARY).args(arguments)).json();
    let json = inspect(&["inspect", &file, "--json"]);
    assert_eq!(json["file"], file.as_str());
    assert_eq!(json["metadata"][&evil], evil.as_str());
}

#[test]
fn whatever_is_wrong_is_one_line() {
    let desk = train::desk();
    desk.tensors("a", &adapter());
    desk.bytes("text", b"line\nline\n\nline");
    desk.bytes("empty", b"");
    desk.bytes("bad.toml", b"a = 1\nb = [\n  2\n  3\n]\n");
    desk.bytes("other.toml", b"model = \"model\"\nnonsense = 3\n");
    desk.bytes("plan.jsonl", b"{\n}\n");
    desk.bytes("adapter_config.json", b"{\n\"r\": [\n1 2]}");
    desk.tensors("peft", &[("base_model.model.l.lora_A.weight", TensorData::from([[1.0f32]]))]);
    fs::create_dir(desk.path("model2")).unwrap();
    desk.bytes("model2/model_index.json", b"[\n\n1 2]");
    for name in ["x", "y", "z"] {
        desk.bytes(&format!("images/{name}.png"), b"no\nimage");
    }
    let lines = "one\ntwo\r\nthree";
    let mut inputs: Vec<Vec<&str>> = Vec::new();
    for file in ["text", "empty", "none", "model", "bad.toml", "peft", lines] {
        inputs.push(vec!["inspect", file]);
        inputs.push(vec!["rank", file]);
        inputs.push(vec!["merge", file, "a", "-o", "new"]);
        inputs.push(vec!["resize", file, "--rank", "1", "-o", "new"]);
        inputs.push(vec!["convert", file, "--to", "peft", "-o", "new"]);
        inputs.push(vec!["extract", file, "a", "--adapter", "lora", "--rank", "1", "-o", "new"]);
        inputs.push(vec!["extract", "a", "a", "--adapter", file, "--rank", "1", "-o", "new"]);
        inputs.push(vec!["train", file]);
        inputs.push(vec!["train", "run.toml", "--set", file]);
        inputs.push(vec!["train", "run.toml", "--device", file]);
        inputs.push(vec!["sweep", "plan", file, "-o", "new"]);
        inputs.push(vec!["sweep", "collect", file]);
        inputs.push(vec!["sweep", "submit", file, "--engine", "local"]);
        inputs.push(vec!["run", "--plan", file, "--index", "0"]);
        inputs.push(vec!["generate", "--model", file, "--prompt", "x", "-o", "new.png"]);
        inputs.push(vec!["export", file, "-o", "new"]);
        inputs.push(vec!["theorem", "--adapter", file, "--optimizer", "adamw"]);
        inputs.push(vec!["reproduce", file]);
    }
    inputs.push(vec!["train", "run.toml"]);
    inputs.push(vec!["train", "other.toml"]);
    inputs.push(vec!["run", "--plan", "plan.jsonl", "--index", "0"]);
    inputs.push(vec!["generate", "--model", "model2", "--prompt", "x", "-o", "new.png"]);
    for arguments in inputs {
        let run = desk.command(Command::new(BINARY).args(&arguments));
        if run.code() == Some(0) {
            continue;
        }
        assert!(matches!(run.code(), Some(1 | 2)), "{arguments:?}: {}", run.err());
        let err = run.err();
        assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
        assert!(err.starts_with("error: ") && err.ends_with('\n'), "{arguments:?}: {err}");
    }
}
