//! Commands that say what there is and what it does.

use std::process::Command;

use serde_json::Value;

use super::run::{BINARY, Desk};

#[test]
fn algorithms_are_listed_and_described() {
    let desk = Desk::new();
    let json = desk.run("adapters --json").json();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    let known: Vec<Value> =
        higanbana_adapters::registry().iter().map(|kind| kind.name().into()).collect();
    assert_eq!(names, known);
    let out = desk.run("adapters").succeeds();
    assert!(known.iter().all(|name| out.contains(name.as_str().unwrap())), "{out}");

    let out = desk.run("adapters").succeeds();
    assert!(out.contains("α/r W₁[l×m] ⊗ W₂[k×nK]") && out.contains("B[:, :p] A[:p, :]"), "{out}");

    let out = desk.run("adapters lokr").succeeds();
    assert!(out.starts_with("lokr: ") && out.contains("    full_matrix = false"), "{out}");
    // One algorithm under two names.
    assert_eq!(desk.run("adapters locon").succeeds(), desk.run("adapters lora").succeeds());
    let message = desk.misuse("adapters weft");
    assert!(message.starts_with("error: unknown algorithm `weft`: there are lora, "), "{message}");
}

#[test]
fn devices_are_listed() {
    let desk = Desk::new();
    let json = desk.run("devices --json").json();
    let flex = json.as_array().unwrap().iter().find(|device| device["name"] == "flex").unwrap();
    assert_eq!(flex["state"], "ready");
    let out = desk.run("devices").succeeds();
    assert!(out.lines().any(|line| line.starts_with("flex ") && line.ends_with("ready")), "{out}");
}

#[test]
fn reproduce_writes_results_and_a_page_that_needs_nothing_else() {
    let desk = Desk::new();
    let json = desk.run("reproduce adapters --out made --json").json();
    let rows = json.as_array().unwrap();
    assert_eq!(rows.len(), higanbana_lab::adapters::Fixtures::committed().cases.len());
    assert!(rows.iter().all(|row| row["deviation"].as_f64().unwrap() < 1e-5));
    let results = std::fs::read(desk.path("made/results/adapters.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&results).unwrap(), json);

    let page = std::fs::read_to_string(desk.path("made/adapters.html")).unwrap();
    assert!(page.contains("tlora_principal") && page.contains("<math"));
    for loads in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(loads), "the page has {loads}");
    }
}

#[test]
fn wrong_usage_is_one_line_and_help_is_not() {
    let desk = Desk::new();
    for (arguments, said) in [
        (
            "inspekt a",
            "unrecognized subcommand 'inspekt'; tip: a similar subcommand exists: 'inspect'",
        ),
        ("inspect", "the following required arguments were not provided: <FILE>"),
        (
            "merge base",
            "the following required arguments were not provided: --output <OUT>, <ADAPTER[:MU]>...",
        ),
        ("inspect a --deep", "unexpected argument '--deep' found"),
        ("merge b a:one -o", "a value is required for '--output <OUT>' but none was supplied"),
        (
            "extract b t -o o --adapter lora --rank 1 --dtype f8",
            "invalid value 'f8' for '--dtype <TYPE>' [possible values: f32, f16, bf16]",
        ),
        ("resize a -o b --rank none", "invalid value 'none' for '--rank <R>': a rank is a whole"),
    ] {
        let message = desk.misuse(arguments);
        assert!(message.starts_with(&format!("error: {said}")), "{message}");
        assert!(message.ends_with("; try --help\n"), "{message}");
    }
    let help = desk.run("merge --help").succeeds();
    assert!(help.contains("Example: higanbana merge ") && help.contains("\nUsage: "), "{help}");
    let version = concat!("higanbana ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(desk.run("--version").succeeds(), version);
}

/// The commands that a help page lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let entries = list.lines().take_while(|line| !line.is_empty());
    let names = entries.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !["", "help"].contains(name)).map(String::from).collect()
}

/// Paragraphs are filled to the width, wherever the source breaks them; what is set in lines stays as it is.
#[test]
fn help_fits_the_terminal() {
    let desk = Desk::new();
    let help = |command: &str, flag: &str, width: usize| {
        let arguments = command.split_whitespace().chain([flag]);
        let mut process = Command::new(BINARY);
        desk.command(process.args(arguments).env("COLUMNS", width.to_string())).succeeds()
    };
    let set_in_lines = |help: &str| {
        let behind = help.split("\n\n").skip_while(|part| !part.contains("Print help")).skip(1);
        let lines = behind.flat_map(str::lines).filter(|line| line.starts_with(' '));
        lines.map(String::from).collect::<Vec<_>>()
    };
    let mut open = vec![String::new()];
    while let Some(command) = open.pop() {
        let wide = help(&command, "--help", 100);
        open.extend(commands(&wide).iter().map(|name| format!("{command} {name}")));
        assert_eq!(set_in_lines(&wide), set_in_lines(&help(&command, "--help", 80)), "{command}");
        for (flag, width) in [("--help", 80), ("--help", 100), ("-h", 80), ("-h", 100)] {
            let help = help(&command, flag, width);
            let (description, rest) = help.split_once("Usage: ").unwrap();
            let lines: Vec<&str> = description.lines().collect();
            for pair in lines.windows(2) {
                let Some(next) = pair[1].split(' ').next().filter(|word| !word.is_empty()) else {
                    continue;
                };
                let filled = pair[0].is_empty()
                    || pair[0].chars().count() + 1 + next.chars().count() > width;
                assert!(filled, "{command} {flag} at {width}:\n{description}");
            }
            let long = rest.lines().skip(1).find(|line| line.chars().count() > width);
            assert_eq!(long, None, "{command} {flag} at {width}");
        }
    }
}
