//! Sweeps: what is planned is run once, wherever, and collected whole.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::run::{BINARY, Desk};

const FIT: &str = "experiment = \"fit\"\n\
    parameters = { rows = 8, cols = 6, steps = 40 }\n";

/// A desk with the plan of these axes.
fn planned(axes: &str) -> Desk {
    let desk = Desk::new();
    desk.bytes("fit.toml", format!("{FIT}{axes}").as_bytes());
    desk.run("sweep plan fit.toml -o plan.jsonl").succeeds();
    desk
}

/// What planning these lines says.
fn refused(text: &str) -> String {
    let desk = Desk::new();
    desk.bytes("fit.toml", text.as_bytes());
    desk.refusal("sweep plan fit.toml -o plan.jsonl")
}

/// States of the runs, in the order of the plan.
fn states(desk: &Desk) -> Vec<String> {
    let rows: serde_json::Value =
        serde_json::from_str(&desk.run("sweep collect plan.jsonl --json").out()).unwrap();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["state"].as_str().unwrap().to_string()).collect()
}

/// Folder of the run that stands in this line of the plan.
fn folder(desk: &Desk, index: usize) -> PathBuf {
    let plan = fs::read_to_string(desk.path("plan.jsonl")).unwrap();
    let run: serde_json::Value = serde_json::from_str(plan.lines().nth(index).unwrap()).unwrap();
    desk.path("runs").join(run["run"].as_str().unwrap())
}

const GRID: &str = "[axes]\nadapter = [\"lora\", \"loha\"]\noptions.rank = [1, 2]\nseed = [0, 1]";

#[test]
fn a_sweep_from_start_to_end() {
    let desk = planned(GRID);
    let plan = fs::read_to_string(desk.path("plan.jsonl")).unwrap();
    assert_eq!(plan.lines().count(), 8);
    // Resolved: what was left out is there.
    assert!(plan.lines().all(|line| line.contains("\"alpha\":") && line.contains("\"rate\":")));
    desk.run("sweep plan fit.toml -o again.jsonl").succeeds();
    assert_eq!(fs::read_to_string(desk.path("again.jsonl")).unwrap(), plan);

    let line = desk.run("sweep submit plan.jsonl --engine slurm --jobs 3 -- --time=5").succeeds();
    assert!(line.starts_with("sbatch --time=5 --array=0-7%3 --wrap '"), "{line}");
    assert!(!desk.path("runs").exists());

    assert_eq!(desk.run("run --plan plan.jsonl --index 5").succeeds().lines().count(), 1);
    desk.run("sweep submit plan.jsonl --engine local --jobs 2 --go").succeeds();
    let done = desk.run("run --plan plan.jsonl --index 5").succeeds();
    assert!(done.ends_with(": was done\n"), "{done}");
    assert!(desk.run("sweep submit plan.jsonl --engine local").succeeds().starts_with("nothing"));

    let out = desk.run("sweep collect plan.jsonl -o table.csv -o table.json").succeeds();
    assert_eq!(out, "8 of 8 runs done\n");
    let json: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(desk.path("table.json")).unwrap()).unwrap();
    for row in &json {
        let rank = row["parameters"]["options"]["rank"].as_u64().unwrap();
        let (bound, result) = (row["result"]["rank_bound"].as_u64().unwrap(), &row["result"]);
        assert!(bound == rank || bound == rank * rank, "{row}");
        assert!(result["rank"].as_u64().unwrap() <= bound);
        // No matrix of that rank is nearer.
        assert!(result["error"].as_f64() >= result["floor"].as_f64(), "{row}");
        assert!(result["error"].as_f64().unwrap() < 1.0, "{row}");
    }
    let csv = fs::read_to_string(desk.path("table.csv")).unwrap();
    assert!(csv.starts_with("index,run,state,reason,parameters.adapter,"), "{csv}");
    assert_eq!(csv.lines().count(), 9);
}

#[test]
fn the_sweep_to_copy_can_be_planned_and_run() {
    let desk = Desk::new();
    desk.bytes("sweep.toml", include_bytes!("../../experiments/sweep.toml"));
    let said = desk.run("sweep plan sweep.toml -o plan.jsonl").succeeds();
    assert_eq!(said, "plan.jsonl: 18 runs\n");
    desk.run("run --plan plan.jsonl --index 17").succeeds();
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let desk = planned("axes.adapter = [\"lokr\"]");
    let read = |name: &str| fs::read(folder(&desk, 0).join(name)).unwrap();
    desk.run("run --plan plan.jsonl --index 0").succeeds();
    let first = [read("result.json"), read("metrics.jsonl")];
    fs::remove_dir_all(desk.path("runs")).unwrap();
    desk.run("run --plan plan.jsonl --index 0").succeeds();
    assert_eq!([read("result.json"), read("metrics.jsonl")], first);
}

#[test]
fn a_cell_of_the_theorem_is_a_run_too() {
    let desk = Desk::new();
    let text = "experiment = \"theorem\"\nparameters.steps = 5\n[axes]\nadapter = [\"lora\"]\n\
                optimizer = [\"sgd\"]";
    desk.bytes("fit.toml", text.as_bytes());
    desk.run("sweep plan fit.toml -o plan.jsonl").succeeds();
    let json = desk.run("run --plan plan.jsonl --index 0 --json").json();
    assert_eq!((&json["gamma"], &json["bit_exact"]), (&0.0625.into(), &true.into()));
}

#[test]
fn the_index_is_that_of_the_task() {
    let desk = planned(GRID);
    let run = |name: &str, value: &str, more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["run", "--plan", "plan.jsonl"]).args(more).env(name, value);
        desk.command(&mut command)
    };
    assert!(run("SLURM_ARRAY_TASK_ID", "3", &[]).succeeds().starts_with("3 fit-lora-2-1-"));
    assert!(run("HQ_TASK_ID", "0", &[]).succeeds().starts_with("0 fit-lora-1-0-"));
    assert!(run("PARALLEL_SEQ", "8", &[]).succeeds().starts_with("7 fit-loha-2-1-"));
    let three = run("SLURM_ARRAY_TASK_ID", "2", &["--chunk", "3"]).succeeds();
    assert_eq!(three.lines().map(|line| &line[..1]).collect::<Vec<_>>(), ["6", "7"]);
    assert_eq!(
        run("HQ_TASK_ID", "x", &[]).fails(),
        "HQ_TASK_ID is `x`: invalid digit found in string"
    );
    assert_eq!(run("PARALLEL_SEQ", "0", &[]).fails(), "PARALLEL_SEQ is 0, before the first, 1");
    let message = desk.misuse("run --plan plan.jsonl");
    assert_eq!(message, "error: no index: give --index K, or run it as a task of an array\n");
    let line = desk.run("sweep submit plan.jsonl --engine parallel --jobs 2 --chunk 3").succeeds();
    // Both runs of the last task are done.
    assert!(line.starts_with("seq 0 1 | parallel --joblog plan.jsonl.joblog -j 2 "), "{line}");
}

#[test]
fn a_run_that_fails_says_why_wherever_one_looks() {
    let desk = planned("[axes]\nadapter = [\"full\"]\noptimizer = [\"sgd\"]\nrate = [0.01, 1e30]");
    let error = desk.run("run --plan plan.jsonl --index 1").fails();
    let (run, reason) = error.split_once(": ").unwrap();
    assert!(run.starts_with("fit-full-sgd-") && reason.starts_with("diverged at step "), "{error}");
    assert!(reason.ends_with("; lower `rate`"), "{error}");
    let file = fs::read_to_string(folder(&desk, 1).join("error.txt")).unwrap();
    assert_eq!(file.trim(), reason);

    let submitted = desk.run("sweep submit plan.jsonl --engine local --go");
    assert_eq!(
        submitted.fails(),
        "some runs failed; `higanbana sweep collect plan.jsonl` lists them"
    );
    assert!(
        submitted.err().contains(&format!("1: exit status: 1: {error}")),
        "{}",
        submitted.err()
    );

    let [report, error] = desk.run("sweep collect plan.jsonl -o table.csv").reports();
    assert_eq!(error, "plan.jsonl: 1 of 2 runs not done");
    let line = report.lines().nth(1).unwrap();
    assert!(line.contains(" failed ") && line.ends_with(reason), "{report}");
    assert!(report.ends_with("1 of 2 runs done\n"), "{report}");
    let csv = fs::read_to_string(desk.path("table.csv")).unwrap();
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.contains(&format!(",failed,\"{reason}\"")), "{csv}");
}

/// A run under way in another process.
struct Under(Child);

impl Under {
    fn way(desk: &Desk, index: usize) -> Self {
        let child = Command::new(BINARY)
            .args(["run", "--plan", "plan.jsonl", "--index", &index.to_string()])
            .current_dir(desk.path(""))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let metrics = folder(desk, index).join("metrics.jsonl");
        let begun = Instant::now();
        while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(120), "it does not start");
            thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_run_belongs_to_one_process_and_to_the_next_when_that_is_killed() {
    // The second one takes an hour.
    let desk = planned("[axes]\nadapter = [\"lora\"]\nsteps = [40, 50000000]");
    let under_way = Under::way(&desk, 1);
    assert_eq!(states(&desk), ["missing", "running"]);
    let error = desk.run("run --plan plan.jsonl --index 1").fails();
    assert!(
        error.ends_with("another process works on this run; wait for it, or stop it"),
        "{error}"
    );
    // What is running is not submitted again.
    let line = desk.run("sweep submit plan.jsonl --engine hq").succeeds();
    assert!(line.starts_with("hq submit --array=0 -- "), "{line}");
    drop(under_way);
    assert_eq!(states(&desk), ["missing", "interrupted"]);
    let line = desk.run("sweep submit plan.jsonl --engine hq").succeeds();
    assert!(line.starts_with("hq submit --array=0-1 -- "), "{line}");
    drop(Under::way(&desk, 1));
}

#[test]
fn what_cannot_be_planned_says_why() {
    let with = |axes: &str| refused(&format!("{FIT}{axes}"));
    assert_eq!(
        with("axes.adapter = \"lora\""),
        "fit.toml: axis `adapter` is no array; write adapter = [\"lora\"]"
    );
    let none = "fit.toml: `axes` is empty; write [axes] with values, or leave it out for one run";
    assert_eq!(refused("axes = []\nexperiment = \"fit\""), none);
    let error = refused("experiment = \"fitt\"");
    assert!(error.starts_with("fit.toml: unknown experiment `fitt`: there are fit, "), "{error}");
    let error = with("axes.adapter = [\"lorra\"]");
    assert!(error.starts_with("fit.toml: run 0 (adapter = \"lorra\"): "), "{error}");
    let error = with("[axes]\nadapter = [\"lora\"]\noptions.rank = [2, 0]");
    assert!(
        error.starts_with("fit.toml: run 1 (adapter = \"lora\", options.rank = 0): "),
        "{error}"
    );
    let error = with("[axes]\nadapter = [\"lora\"]\nranks = [2]");
    assert!(error.contains("unknown field `ranks`"), "{error}");
    let error = with("[axes]\nadapter = [\"lora\"]\noptimizer = [\"adamm\"]");
    assert!(error.contains("unknown optimizer `adamm`: there are adam, "), "{error}");
    let error = with("[axes]\nadapter = [\"lora\"]\nsteps = [0]");
    assert!(error.ends_with(": `steps` is 0"), "{error}");
    let error = with("[axes");
    assert!(error.starts_with("fit.toml: line 3: "), "{error}");
    let error = Desk::new().refusal("sweep plan none.toml -o plan.jsonl");
    assert!(error.starts_with("none.toml: cannot be read: "), "{error}");
    let desk = planned(GRID);
    let error = desk.refusal("sweep plan fit.toml -o plan.jsonl");
    assert_eq!(error, "plan.jsonl: exists already; name another output or pass --overwrite");
    assert!(desk.misuse("sweep plan fit.toml -o fit.toml --overwrite").contains("is an input"));
}

#[test]
fn what_is_no_plan_is_not_run() {
    let desk = planned(GRID);
    let message = desk.misuse("run --plan plan.jsonl --index 8");
    assert_eq!(message, "error: index 8 is beyond plan.jsonl, whose last is 7\n");
    assert!(desk.misuse("run --plan plan.jsonl --index 3 --chunk 3").contains("whose last is 2"));
    let plan = fs::read_to_string(desk.path("plan.jsonl")).unwrap();
    let with = |text: &str| {
        desk.bytes("bad.jsonl", text.as_bytes());
        let errors = ["run --index 0 --plan", "sweep collect", "sweep submit --engine slurm"]
            .map(|command| desk.refusal(&format!("{command} bad.jsonl")));
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        errors[0].clone()
    };
    let other = plan.replace("\"plan\":1", "\"plan\":7");
    assert_eq!(with(&other), "bad.jsonl: line 1: is of version 7, 1 is read here; plan again");
    assert_eq!(with(&plan[..plan.len() - 30]), "bad.jsonl: line 8: is half-written; plan again");
    let edited = plan.replacen("\"seed\":1", "\"seed\":5", 1);
    assert!(with(&edited).starts_with("bad.jsonl: line 2: was edited;"));
    assert!(
        desk.refusal("run --plan none.jsonl --index 0").starts_with("none.jsonl: cannot be read")
    );
    let message = desk.misuse("sweep collect plan.jsonl -o table.txt");
    assert_eq!(message, "error: table.txt: name it .csv or .json\n");
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let desk = planned(GRID);
    // A file is where the folder of all runs should be.
    let error = desk.refusal("run --plan plan.jsonl --index 0 --runs fit.toml");
    assert!(error.starts_with("fit.toml/fit-lora-1-0-"), "{error}");
    if cfg!(target_os = "linux") {
        let error = desk.refusal("run --plan plan.jsonl --index 0 --runs /proc");
        assert!(error.starts_with("/proc/fit-lora-1-0-") && error.contains("cannot be written"));
    }
    // One run's result is of another configuration.
    desk.run("run --plan plan.jsonl --index 0").succeeds();
    fs::create_dir_all(folder(&desk, 1)).unwrap();
    fs::copy(folder(&desk, 0).join("result.json"), folder(&desk, 1).join("result.json")).unwrap();
    assert_eq!(states(&desk)[..3], ["done", "unreadable", "missing"]);
    let error = desk.run("run --plan plan.jsonl --index 1").fails();
    assert!(error.contains("holds a run with another configuration"), "{error}");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let desk = planned(GRID);
    let submit = |options: &str| format!("sweep submit plan.jsonl --engine {options}");
    let mut command = Command::new(BINARY);
    command.args(submit("slurm --go").split(' ')).env("PATH", "/bin");
    if !PathBuf::from("/bin/sbatch").exists() && cfg!(unix) {
        let error = desk.command(&mut command).fails();
        assert_eq!(error, "`sbatch` cannot be found; run this where it is installed");
    }
    assert!(desk.misuse(&submit("hq --jobs 3")).contains("hq limits by resources"));
    assert!(desk.misuse(&submit("local -- --fast")).contains("local has no options of its own"));
    assert!(desk.misuse(&submit("local --jobs 0")).contains("give 1 or more"));
    assert!(desk.misuse(&submit("grid")).contains("possible values: local, slurm, hq, parallel"));
}
