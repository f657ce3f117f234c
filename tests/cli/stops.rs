//! `train` stopped: killed, asked to stop, out of room, diverged; and gone on with.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use burn::tensor::TensorData;
use higanbana_io::writer::write_tensors;

use super::{
    formula,
    run::{BINARY, Desk},
    train::desk,
};

pub fn start(desk: &Desk, arguments: &str) -> Child {
    Command::new(BINARY)
        .args(arguments.split_whitespace())
        .current_dir(desk.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until something is so, or a run has ended; says which.
fn wait(child: &mut Child, so: impl Fn() -> bool) -> bool {
    for _ in 0..600_000 {
        if so() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        sleep(Duration::from_micros(100));
    }
    panic!("nothing in a minute");
}

/// Waits until a run has recorded as many steps.
pub fn wait_for(desk: &Desk, folder: &str, steps: usize, child: &mut Child) {
    let path = desk.path(folder).join("metrics.jsonl");
    let recorded = || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() >= steps);
    assert!(wait(child, recorded), "{folder} has not come to step {steps}");
}

/// What a run leaves: adapter, metrics, events.
fn outputs(desk: &Desk, folder: &str) -> [Vec<u8>; 3] {
    let read = |name: &str| fs::read(desk.path(folder).join(name)).unwrap();
    ["lily.safetensors", "metrics.jsonl", "events.out.tfevents.0000000000.higanbana"].map(read)
}

/// Files in the folder of checkpoints whose names begin so, the last one last.
fn checkpoints(desk: &Desk, folder: &str, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(desk.path(folder).join("checkpoints")).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

const KILLS: usize = 50;

/// Every second time as soon as a checkpoint is being written, else at any moment: of the start, of a
/// step, or between.
#[test]
fn a_run_that_is_killed_fifty_times_goes_on_to_the_same_bytes() {
    let desk = desk();
    let train = "train run.toml --set train.steps=60 --set train.checkpoint=1";
    desk.run(&format!("{train} -o whole")).succeeds();

    let moments = formula::numbers("moments", &[KILLS]);
    let mut in_writing = 0;
    for (kill, moment) in moments.into_iter().enumerate() {
        let last = checkpoints(&desk, "killed", "step-").pop();
        let begun = desk.path("killed/run.toml").exists();
        let resume = if begun { "--resume" } else { "" };
        let mut child = start(&desk, &format!("{train} -o killed {resume}"));
        let left_by_others = checkpoints(&desk, "killed", ".");
        match kill % 2 {
            0 => sleep(Duration::from_millis((moment.abs() * 150.0) as u64)),
            _ => {
                let writing = |name: &String| !left_by_others.contains(name);
                wait(&mut child, || checkpoints(&desk, "killed", ".").iter().any(writing));
            }
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it has come to its end before the last kill");
        let half_written = checkpoints(&desk, "killed", ".");
        in_writing += usize::from(half_written.iter().any(|it| !left_by_others.contains(it)));
        // Nothing before the last checkpoint is ever lost.
        assert!(checkpoints(&desk, "killed", "step-").pop() >= last);
    }
    assert!(in_writing > KILLS / 5, "{in_writing} were killed while they wrote");
    desk.run(&format!("{train} -o killed --resume")).succeeds();
    let same = outputs(&desk, "killed").into_iter().zip(outputs(&desk, "whole"));
    assert_eq!(same.map(|(killed, whole)| killed == whole).collect::<Vec<_>>(), [true; 3]);
    assert_eq!(checkpoints(&desk, "killed", "."), [""; 0], "what was half-written is left");
}

/// A signal that can be caught stops after the step, with a checkpoint.
#[test]
fn a_run_that_is_asked_to_stop_does_so_after_the_step() {
    let desk = desk();
    desk.run("train run.toml -o whole").succeeds();
    for signal in ["-TERM", "-INT"] {
        let _ = fs::remove_dir_all(desk.path("asked"));
        let mut child = start(&desk, "train run.toml -o asked");
        wait_for(&desk, "asked", 3, &mut child);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let stopped = child.wait_with_output().unwrap();
        assert_eq!(stopped.status.code(), Some(1));
        let error = String::from_utf8(stopped.stderr).unwrap();
        assert!(error.contains("of 12; go on with --resume"), "{error}");
        let error = desk.run("train run.toml -o asked").fails();
        assert!(error.contains("--resume goes on with it"), "{error}");
        desk.run("train run.toml -o asked --resume").succeeds();
        assert!(outputs(&desk, "asked") == outputs(&desk, "whole"));
    }
}

#[test]
fn a_run_goes_on_with_the_images_that_it_began_with() {
    let desk = desk();
    let mut child = start(&desk, "train run.toml -o begun");
    wait_for(&desk, "begun", 3, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let caption = fs::read(desk.path("images/a.txt")).unwrap();
    desk.bytes("images/a.txt", b"a blue lily");
    let error = desk.run("train run.toml -o begun --resume").fails();
    assert!(error.contains("is of other images or captions; --overwrite begins anew"), "{error}");
    desk.bytes("images/a.txt", &caption);
    desk.run("train run.toml -o begun --resume").succeeds();
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let desk = desk();
    // Everything of the model: a checkpoint of more than half a megabyte.
    let arguments = "train run.toml -o full --set adapter.algorithm='full' --set adapter.options={} \
                     --set adapter.preset='full' --set train.steps=4 --set train.checkpoint=1";
    let mut child = start(&desk, arguments);
    wait_for(&desk, "full", 2, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = || checkpoints(&desk, "full", "step-");
    let before = kept();
    assert!(!before.is_empty());
    let error = desk.run_without_room(&format!("{arguments} --resume")).fails();
    assert!(error.contains("full/checkpoints/step-0000000"), "{error}");
    assert!(error.contains("cannot be written") && error.contains("free some space"), "{error}");
    assert_eq!(kept(), before);
    desk.run(&format!("{arguments} --resume")).succeeds();
}

#[test]
fn a_training_that_diverges_says_where_and_keeps_what_was_whole() {
    let desk = desk();
    let run =
        "train run.toml --set train.rate=1e20 --set train.optimizer=sgd --set train.options={}";
    let run = format!("{run} --set adapter.text_encoder=false --set adapter.options={{rank=2}}");
    let error = desk.run(&run).fails();
    for expected in ["is not finite; first at fault: ", "the batch is images/", "lower train.rate"]
    {
        assert!(error.contains(expected), "{error}");
    }
    assert!(fs::read_to_string(desk.path("runs/run/error.txt")).unwrap().contains("not finite"));
    assert!(!desk.path("runs/run/result.json").exists());
}

/// The weights of a layer are finite, what it makes of them is not.
#[test]
fn the_layer_whose_output_overflows_is_named() {
    let desk = desk();
    let path = "model/unet/diffusion_pytorch_model.safetensors";
    let file = desk.open(path);
    let (layer, mut tensors) = ("mid_block.attentions.0.proj_out", BTreeMap::new());
    for name in file.names() {
        let mut data = file.read(name).unwrap();
        if *name == format!("{layer}.weight") {
            let huge = data.iter::<f32>().map(|x| x.signum() * 3e38).collect::<Vec<_>>();
            data = TensorData::new(huge, data.shape().clone());
        }
        tensors.insert(name.clone(), data);
    }
    write_tensors(&desk.path(path), &tensors, &BTreeMap::new(), true).unwrap();
    let error = desk.run("train run.toml").fails();
    let expected = format!(
        "the loss of step 1 is not finite; first at fault: the output of unet.{layer}; the batch is "
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains("; no step before it was whole, "), "{error}");
}
