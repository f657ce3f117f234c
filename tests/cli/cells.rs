//! What the table of `theorem` says where a number alone would say too much.

use serde_json::Value;

use super::run::Desk;

fn rows(command: &str) -> Vec<Value> {
    let out = Desk::new().run(&format!("theorem --all --json {command}")).succeeds();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_cell_says_from_where_it_started() {
    let rows = rows("--adapter full --start own --steps 2");
    assert_eq!(rows.len(), 19);
    for row in &rows {
        match row["skipped"].as_str() {
            None => assert_eq!((&row["start"], &row["bit_exact"]), (&"own".into(), &true.into())),
            Some(reason) => {
                assert!(row["optimizer"] == "lamb" && reason.contains("zero"), "{row}");
            }
        }
    }
    let command = "theorem --adapter full --optimizer lamb --start own";
    assert!(Desk::new().run(command).fails().contains("zero"));
}

#[test]
fn what_f32_cannot_hold_is_skipped_and_the_others_stay() {
    let rows = rows("--adapter ia3 --gamma 1e-30 --steps 3");
    assert_eq!(rows.len(), 19);
    let skipped: Vec<_> = rows.iter().filter(|row| row["skipped"].is_string()).collect();
    assert!(skipped.iter().any(|row| row["optimizer"] == "adafactor"), "{skipped:?}");
    for row in skipped {
        assert!(row["skipped"].as_str().unwrap().contains("holds it in f32"), "{row}");
    }
    for row in rows.iter().filter(|row| row["bound"].is_number()) {
        let rounding = row["rounding"].as_f64().unwrap();
        assert!(row["bound"].as_f64().unwrap() >= rounding.min(1e-8), "{row}");
    }
}

#[test]
fn a_rule_that_is_hardly_broken_is_too_weak_to_show() {
    let command = "theorem --adapter ia3 --optimizer adamw --gamma 0.99 --steps 20";
    let out = Desk::new().run(command).succeeds();
    assert!(out.contains("too weak at this gamma, off by a factor of 1.01"), "{out}");
}

#[test]
fn a_real_alpha_is_trained_as_well() {
    let command = "theorem --optimizer adamw --steps 5 --json --adapter";
    let lora = Desk::new().run(&format!("{command} lora")).json();
    assert_eq!((&lora["alpha"]["bit_exact"], &lora["no_alpha"]), (&true.into(), &Value::Null));
    let full = Desk::new().run(&format!("{command} full")).json();
    assert_eq!((&full["alpha"], &full["no_alpha"]), (&Value::Null, &"it has no alpha".into()));
}
