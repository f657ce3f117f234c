use std::fs;

use higanbana_io::run::Run;
use serde_json::Value;
use tempfile::tempdir;

use super::*;
use crate::experiment::{Experiment, Failure, Progress};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    a: i64,
    #[serde(default)]
    within: Within,
    twice: Option<i64>,
    #[serde(default)]
    rate: f64,
}

#[derive(Serialize, Deserialize, Default)]
struct Within {
    b: f64,
}

/// Divides, and so fails for some.
struct Divide;

impl Experiment for Divide {
    const NAME: &'static str = "divide";
    const TITLE: &'static str = "A quotient";
    type Parameters = Parameters;
    type Outcome = Value;

    fn resolve(p: &mut Parameters, _: &Lab) -> Result<(), Failure> {
        p.twice = Some(p.a.checked_mul(2).ok_or("`a` is too large")?);
        Ok(())
    }

    fn run(p: &Parameters, _: &Lab, run: &mut Run, _: Progress) -> Result<Value, Failure> {
        run.record(&p.a)?;
        if p.within.b == 0.0 {
            return Err("division by zero".into());
        }
        assert!(p.within.b > 0.0, "negative");
        Ok(serde_json::json!({ "quotient": p.a as f64 / p.within.b, "list": [p.a] }))
    }
}

fn lab() -> Lab {
    let mut lab = Lab::new(Default::default());
    lab.experiments = lab.experiments.with::<Divide>();
    lab
}

fn plan(axes: &str) -> Plan {
    Plan::expand("e.toml", &format!("experiment = \"divide\"\n{axes}"), &lab()).unwrap()
}

fn refused(text: &str) -> String {
    Plan::expand("e.toml", text, &lab()).unwrap_err().to_string()
}

#[test]
fn every_combination_is_a_run_the_last_axis_fastest() {
    let plan = plan("[parameters]\nrate = 0.5\n[axes]\nwithin.b = [0.5, 2.0]\na = [1, 2]");
    let values: Vec<_> = plan.runs.iter().map(|run| run.run.rsplit_once('-').unwrap().0).collect();
    assert_eq!(values, ["divide-1-0.5", "divide-1-2.0", "divide-2-0.5", "divide-2-2.0"]);
    let line = plan.text().lines().nth(3).unwrap().to_string();
    assert!(line.starts_with("{\"plan\":1,\"index\":3,\"run\":\"divide-2-2.0-"), "{line}");
    let parameters = "\"parameters\":{\"a\":2,\"rate\":0.5,\"twice\":4,\"within\":{\"b\":2.0}}}";
    assert!(line.ends_with(parameters), "{line}");
}

#[test]
fn grids_stand_one_below_the_other() {
    let plan = plan("[[axes]]\na = [1]\n[[axes]]\na = [2]\nwithin = [{ b = 1.0 }, { b = 2.0 }]");
    let values: Vec<_> = plan.runs.iter().map(|run| run.parameters["a"].as_integer()).collect();
    assert_eq!(values, [Some(1), Some(2), Some(2)]);
    assert_eq!(
        super::Plan::expand("", "experiment = \"divide\"\nparameters = { a = 1 }", &lab())
            .unwrap()
            .runs
            .len(),
        1
    );
}

#[test]
fn what_cannot_be_planned_says_why() {
    let with = |axes: &str| refused(&format!("experiment = \"divide\"\n{axes}"));
    assert_eq!(with("[axes]\na = 3"), "e.toml: axis `a` is no array; write a = [3]");
    assert_eq!(
        with("[axes]\nwithin.b = \"x\"").split("; ").last(),
        Some("write within.b = [\"x\"]")
    );
    assert_eq!(with("[axes]\na = []"), "e.toml: axis `a` has no value");
    assert_eq!(with("[axes]\na = [1, 1]"), "e.toml: runs 0 and 1 are the same; remove one value");
    assert!(with("axes = 3").contains("`axes` is 3, not a table"));
    assert!(
        with("[axes]\nc = [1]\na = [1]").starts_with("e.toml: run 0 (a = 1, c = 1): unknown field")
    );
    assert!(with("[axes]\na = [0.5]").starts_with("e.toml: run 0 (a = 0.5): invalid type"));
    let huge = with("[axes]\na = [1, 4611686018427387904]");
    assert_eq!(huge, "e.toml: run 1 (a = 4611686018427387904): `a` is too large");
    assert!(
        with("[axes]\na = [1]\nrate = [inf]").contains("`rate` is a number or a date that JSON")
    );
    assert!(with("[parameters]\na = 1\n[axes]\na.b = [1]").contains("axis `a.b` lies within"));
    let seeds = format!("{:?}", (0..1001).collect::<Vec<_>>());
    assert!(
        with(&format!("[axes]\na = {seeds}\nseed = {seeds}")).contains("more than 1000000 runs")
    );
    assert!(
        refused("experiment = \"divides\"")
            .contains("unknown experiment `divides`: there are divide, ")
    );
    assert!(refused("experiment = ").starts_with("e.toml: TOML parse error at line 1"));
    assert!(!refused("experiment = ").contains('\n'));
    assert!(refused("").contains("missing field `experiment`"));
}

#[test]
fn a_plan_comes_back_and_damage_is_told() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("plan.jsonl");
    let plan = plan("[axes]\na = [1, 2]\nrate = [1.0]");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Plan::read(&path).map_err(|error| error.to_string().split_off(path.as_os_str().len()))
    };
    let text = plan.text();
    assert_eq!(read(&text), Ok(plan.clone()));
    let err = |text: &str| read(text).unwrap_err();
    assert_eq!(err(&text[..text.len() - 20]), ": line 2: is half-written; plan again");
    assert_eq!(err(text.trim_end()), ": line 2: is half-written; plan again");
    let half = format!("{}\n{}", &text[..40], text.lines().last().unwrap()) + "\n";
    assert_eq!(err(&half), ": line 1: is half-written; plan again");
    let other = text.replace("\"plan\":1", "\"plan\":2");
    assert_eq!(err(&other), ": line 1: is of version 2, 1 is read here; plan again");
    assert!(err(&text.replace("\"a\":2", "\"a\":3")).starts_with(": line 2: was edited;"));
    assert!(err(&text.replace("divide-", "../divide-")).starts_with(": line 1: was edited;"));
    let swapped: Vec<&str> = text.lines().rev().collect();
    assert!(err(&(swapped.join("\n") + "\n")).starts_with(": line 1: has index 1, not 0;"));
    assert_eq!(err(""), ": plans no run");
    assert!(err("what\n").starts_with(": line 1: is no run of a plan"));
    fs::remove_file(&path).unwrap();
    assert!(Plan::read(&path).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn runs_are_performed_once_and_collected() {
    let runs = tempdir().unwrap();
    let plan = plan("[axes]\na = [3]\nwithin.b = [2.0, 0.0, -1.0, 4.0]");
    let perform = |index: usize| plan.runs[index].perform(&lab(), runs.path(), &|_, _| ());
    let first = perform(0).unwrap();
    assert_eq!((first.before, &first.result["quotient"]), (false, &1.5.into()));
    assert!(perform(0).unwrap().before);
    let reason = perform(1).unwrap_err().to_string();
    assert_eq!(reason, format!("{}: division by zero", plan.runs[1].run));
    assert!(perform(2).unwrap_err().to_string().ends_with(": panicked: negative"));

    let rows = collect(&plan, runs.path());
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, ["done", "failed", "failed", "missing"]);
    let table = csv(&rows);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "index,run,state,reason,parameters.a,parameters.rate,parameters.twice,parameters.within.b,\
         result.list,result.quotient"
    );
    assert_eq!(lines[1], format!("0,{},done,,3,0.0,6,2.0,[3],1.5", plan.runs[0].run));
    assert_eq!(lines[2], format!("1,{},failed,division by zero,3,0.0,6,0.0,,", plan.runs[1].run));
    let back: Vec<Value> = serde_json::from_str(&json(&rows).unwrap()).unwrap();
    assert_eq!(back[0]["result"], first.result);

    // A plan that overlaps shares what is done.
    let more = self::plan("[axes]\na = [2, 3]\nwithin.b = [2.0]");
    let states: Vec<_> = collect(&more, runs.path()).iter().map(|row| row.state).collect();
    assert_eq!(states, ["missing", "done"]);
}

#[test]
fn a_plan_of_other_defaults_is_not_run() {
    let runs = tempdir().unwrap();
    let plan = plan("[axes]\na = [3]");
    let mut parameters = plan.runs[0].parameters.clone();
    parameters.remove("twice");
    let run = Planned::new(0, "divide", "divide", parameters);
    let error = run.perform(&lab(), runs.path(), &|_, _| ()).unwrap_err().to_string();
    assert!(error.contains("was planned by another version"), "{error}");
    let run = Planned::new(0, "x", "x", toml::Table::new());
    let error = run.perform(&lab(), runs.path(), &|_, _| ()).unwrap_err().to_string();
    assert!(error.contains("unknown experiment `x`"), "{error}");
    assert_eq!(collect(&Plan { runs: vec![run] }, runs.path())[0].state, "failed");
}
