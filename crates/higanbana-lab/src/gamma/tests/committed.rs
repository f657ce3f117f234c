//! The committed numbers are those of the code: a sample of the cells is trained again.
//!
//! What the theorem says is exact is compared exactly. A deviation by rounding differs from processor to processor
//! and has its bound; the departure of a broken rule does so by what its steps amplify of that, far below the
//! [stated](DIGITS) part of it.

use std::{fs, path::Path};

use higanbana_train::optimizers;
use serde_json::{Value, json};

use super::lab;
use crate::gamma::{Network, Plan, Subject, THRESHOLD, chapter::Pair};

/// Relative difference of the departures of a broken rule.
const DIGITS: f64 = 1e-4;
/// Of the cells of the small network one in this many is trained again; no two neighbours of the sample have
/// their adapter or their optimizer in common.
const EACH: usize = 97;

fn committed() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let text = fs::read_to_string(root.join("01-gamma-equivalence/gamma.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The cell as the code trains it now.
fn trained(net: Network, committed: &Value) -> Value {
    let lab = lab();
    let name = |field: &str| committed[field].as_str().unwrap();
    let subject = Subject::named(&lab.adapters, name("adapter")).unwrap();
    let rule = optimizers().iter().find(|rule| rule.name == name("optimizer")).unwrap();
    let pair = Pair { net, subject: &subject, rule };
    let cell = Plan::committed().cell(&pair, &lab.adapters, &lab.device).unwrap();
    serde_json::to_value(cell).unwrap()
}

/// Where two results of a cell differ by more than they may.
fn differences(committed: &Value, trained: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let exact = [
        "adapter",
        "optimizer",
        "degree",
        "c",
        "dyadic_gamma",
        "dyadic",
        "bit_exact",
        "bounds",
        "start",
    ];
    for field in exact {
        if !committed[field].is_null() && committed[field] != trained[field] {
            found.push(format!("{field}: {} is now {}", committed[field], trained[field]));
        }
    }
    for at in 0..2 {
        let bound = committed["bounds"][at].as_f64().unwrap_or(THRESHOLD);
        for (when, cell) in [("committed", committed), ("now", trained)] {
            let rounded = cell["rounded"][at].as_f64().unwrap();
            if rounded > bound {
                found.push(format!("rounded: {rounded:e} {when}, more than {bound:e}"));
            }
        }
    }
    let near = |x: &Value, y: &Value, by: f64| match (x.as_f64(), y.as_f64()) {
        (Some(x), Some(y)) => (x - y).abs() <= by * x.abs().max(y.abs()),
        _ => x == y,
    };
    for (group, digits) in [("controls", DIGITS), ("hyperparameters", DIGITS / 10.0)] {
        let [then, now] = [committed, trained].map(|cell| cell[group].as_object());
        let (Some(then), Some(now)) = (then, now) else { continue };
        if then.len() != now.len() {
            found.push(format!("{group}: {then:?} are now {now:?}"));
        }
        for (name, value) in then {
            match now.get(name) {
                Some(now) if near(value, now, digits) => {}
                now => found.push(format!("{name}: {value} is now {now:?}")),
            }
        }
    }
    // One step of two hundred.
    if (committed["clipped"].as_f64().unwrap() - trained["clipped"].as_f64().unwrap()).abs()
        > 0.0051
    {
        found.push(format!("clipped: {} is now {}", committed["clipped"], trained["clipped"]));
    }
    found
}

#[test]
fn a_sample_of_the_committed_cells_is_trained_again() {
    let committed = committed();
    assert_eq!(committed["plan"], json!(Plan::committed()), "the plan is another");
    let small = committed["cells"].as_array().unwrap();
    let unet = committed["unet"].as_array().unwrap();
    assert_eq!(small.len(), optimizers().len() * Subject::all(&lab().adapters).len());
    // The README of the chapter names this cell: its f32 deviation exceeds the bound.
    let exceeds =
        |cell: &&Value| cell["adapter"] == "oftv2:block_share" && cell["optimizer"] == "prodigy";
    let sample = small.iter().skip(1).step_by(EACH).filter(|cell| !exceeds(cell));
    let sample = sample.map(|cell| (Network::Mlp, cell));
    for (net, cell) in sample.chain([(Network::Unet, &unet[unet.len() / 2])]) {
        let differences = differences(cell, &trained(net, cell));
        assert!(differences.is_empty(), "{}: {differences:?}", cell["adapter"]);
    }
}

#[test]
fn another_number_is_a_difference() {
    let cell = &committed()["cells"][1];
    assert!(differences(cell, cell).is_empty());
    let changes: [(&str, Value); 6] = [
        ("c", json!(7)),
        ("dyadic", json!([1e-16, 0.0])),
        ("bit_exact", json!(false)),
        ("rounded", json!([1e-3, 0.0])),
        ("clipped", json!(0.9)),
        ("controls", json!({ "wrong_c": 0.5 })),
    ];
    for (field, value) in changes {
        let mut other = cell.clone();
        other[field] = value;
        assert!(!differences(cell, &other).is_empty(), "{field}");
    }
}
