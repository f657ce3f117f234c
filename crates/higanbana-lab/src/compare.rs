//! Results held against those of another run: where do they differ, beyond what their [kinds](crate::numbers) allow?

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::numbers::{Numbers, set};

/// One place where results differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The cell, by what was asked there.
    pub cell: String,
    /// The key within it.
    pub key: String,
    /// What is committed; nothing, where it is not there.
    pub committed: Option<Value>,
    /// What was found; nothing, where it is not there.
    pub found: Option<Value>,
    /// How far numbers may be apart.
    pub within: Option<f64>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = [&*self.cell, &*self.key].into_iter().filter(|it| !it.is_empty());
        let said = |value: &Option<Value>| value.as_ref().map_or("nothing".into(), said);
        let (committed, found) = (said(&self.committed), said(&self.found));
        write!(
            f,
            "{}: committed {committed}, found {found}",
            place.collect::<Vec<_>>().join(": ")
        )?;
        match self.within {
            Some(tolerance) if tolerance > 0.0 => write!(f, ", further apart than {tolerance:.1e}"),
            _ => Ok(()),
        }
    }
}

/// A value in a line: lists and objects by their sizes.
fn said(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {}", fields.len()),
        other => other.to_string(),
    }
}

/// Where results differ from committed ones. Items of a list that have a name, such as the parameters of a run, are held
/// against those of the same name, whatever their order.
pub fn differences(kinds: &[Numbers], committed: &Value, found: &Value) -> Vec<Difference> {
    let mut walk = Walk { kinds, differences: Vec::new() };
    let whole = Place {
        cell: String::new(),
        key: String::new(),
        kind: Numbers::COMPUTED,
        flags: Vec::new(),
    };
    walk.values(&whole, committed, found);
    walk.differences
}

/// What an item of a list is called: its parameters, its case, or the pair of adapter and optimizer.
pub fn name(item: &Value) -> Option<String> {
    if let Some(Value::Object(parameters)) = item.get("parameters") {
        let parameter = |(key, value): (&String, &Value)| match value {
            Value::String(text) => format!("{key} {text}"),
            value => format!("{key} {value}"),
        };
        return Some(parameters.iter().map(parameter).collect::<Vec<_>>().join(", "));
    }
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    match (text("case").or(text("name")), text("adapter"), text("optimizer")) {
        (Some(name), ..) => Some(name.into()),
        (None, Some(adapter), Some(optimizer)) => Some(format!("{adapter} × {optimizer}")),
        _ => None,
    }
}

/// Where a walk stands.
#[derive(Clone)]
struct Place<'k> {
    cell: String,
    key: String,
    kind: Numbers,
    /// Those that are set here or around, in either of the two.
    flags: Vec<&'k str>,
}

impl Place<'_> {
    fn at(&self, key: &str) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { key: format!("{}{dot}{key}", self.key), ..self.clone() }
    }

    /// An item of the list here, by its name, else by its place.
    fn item(&self, index: usize, name: Option<&str>) -> Self {
        let Some(name) = name else {
            return Self { key: format!("{}[{index}]", self.key), ..self.clone() };
        };
        let around = [&*self.cell, &*self.key, name].into_iter().filter(|it| !it.is_empty());
        Self { cell: around.collect::<Vec<_>>().join(": "), key: String::new(), ..self.clone() }
    }

    /// What has a tolerance here.
    fn number(&self, value: &Value) -> Option<f64> {
        let stated = !self.kind.keys.is_empty();
        match value {
            Value::Number(number) if stated || number.is_f64() => number.as_f64(),
            Value::Bool(flag) if stated => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }
}

struct Walk<'k> {
    kinds: &'k [Numbers],
    differences: Vec<Difference>,
}

impl<'k> Walk<'k> {
    fn values(&mut self, place: &Place<'k>, committed: &Value, found: &Value) {
        match (committed, found) {
            (Value::Object(a), Value::Object(b)) => self.fields(place, a, b),
            (Value::Array(a), Value::Array(b)) => self.items(place, a, b),
            _ => match [committed, found].map(|value| place.number(value)) {
                [Some(a), Some(b)] if place.kind.agree(a, b) => (),
                _ if committed == found => (),
                _ => self.differ(place, Some(committed), Some(found)),
            },
        }
    }

    fn fields(&mut self, place: &Place<'k>, a: &Map<String, Value>, b: &Map<String, Value>) {
        let flags = [&*place.flags, &set(self.kinds, a), &set(self.kinds, b)].concat();
        let more = b.keys().filter(|key| !a.contains_key(*key));
        for key in a.keys().chain(more) {
            let kind = place.kind.under(self.kinds, key, &flags);
            let place = Place { kind, flags: flags.clone(), ..place.at(key) };
            self.pair(&place, a.get(key), b.get(key));
        }
    }

    fn items(&mut self, place: &Place<'k>, a: &[Value], b: &[Value]) {
        let names = |items: &[Value]| items.iter().map(name).collect::<Option<Vec<String>>>();
        let (Some(of_a), Some(of_b)) = (names(a), names(b)) else {
            for index in 0..a.len().max(b.len()) {
                self.pair(&place.item(index, None), a.get(index), b.get(index));
            }
            return;
        };
        for (index, name) in of_a.iter().enumerate() {
            let there = of_b.iter().position(|other| other == name).map(|index| &b[index]);
            self.pair(&place.item(index, Some(name)), Some(&a[index]), there);
        }
        for (index, name) in of_b.iter().enumerate().filter(|(_, name)| !of_a.contains(name)) {
            self.pair(&place.item(index, Some(name)), None, Some(&b[index]));
        }
    }

    fn pair(&mut self, place: &Place<'k>, committed: Option<&Value>, found: Option<&Value>) {
        match (committed, found) {
            (Some(committed), Some(found)) => self.values(place, committed, found),
            _ => self.differ(place, committed, found),
        }
    }

    fn differ(&mut self, place: &Place<'k>, committed: Option<&Value>, found: Option<&Value>) {
        let number = |value: Option<&Value>| place.number(value?);
        let numbers = number(committed).zip(number(found));
        self.differences.push(Difference {
            cell: place.cell.clone(),
            key: place.key.clone(),
            committed: committed.cloned(),
            found: found.cloned(),
            within: numbers.map(|(a, b)| place.kind.tolerance(a, b)),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NUMBERS: &[Numbers] = &[
        Numbers {
            keys: &["fitted", "cut_off"],
            flag: Some("cut_off"),
            absolute: 1.0,
            ..Numbers::COMPUTED
        },
        Numbers { keys: &["error"], absolute: 0.1, ..Numbers::COMPUTED },
    ];

    fn lines(committed: &Value, found: &Value) -> Vec<String> {
        differences(NUMBERS, committed, found).iter().map(ToString::to_string).collect()
    }

    fn run(seed: u64, outcome: Value) -> Value {
        json!({ "parameters": { "adapter": "lora", "seed": seed }, "outcome": outcome })
    }

    #[test]
    fn a_difference_names_cell_key_values_and_tolerance() {
        let committed = json!([
            run(0, json!([{ "error": 0.5, "rank": 3 }])),
            run(1, json!([{ "error": 0.5, "rank": 3, "of": "a" }, 1.0]))
        ]);
        assert_eq!(lines(&committed, &committed), [""; 0]);
        let found = json!([
            run(1, json!([{ "error": 0.65, "rank": 4, "of": "b" }])),
            run(0, json!([{ "error": 0.55, "rank": 3, "more": null }]))
        ]);
        assert_eq!(
            lines(&committed, &found),
            [
                "adapter lora, seed 0: outcome[0].more: committed nothing, found null",
                "adapter lora, seed 1: outcome[0].error: committed 0.5, found 0.65, further apart than 1.0e-1",
                "adapter lora, seed 1: outcome[0].rank: committed 3, found 4",
                "adapter lora, seed 1: outcome[0].of: committed \"a\", found \"b\"",
                "adapter lora, seed 1: outcome[1]: committed 1.0, found nothing",
            ]
        );
    }

    #[test]
    fn runs_are_found_by_their_parameters() {
        let (one, two) = (run(0, json!(1.0)), run(1, json!(1.0)));
        let lines = lines(&json!([one]), &json!([two]));
        assert_eq!(
            lines,
            [
                "adapter lora, seed 0: committed an object of 2, found nothing",
                "adapter lora, seed 1: committed nothing, found an object of 2"
            ]
        );
        let cells = |optimizer: &str| json!({ "cells": [{ "adapter": "lora", "optimizer": optimizer, "x": 1.5 }] });
        assert_eq!(lines_of(&cells("sgd"), &cells("adam")), "cells: lora × sgd");
    }

    fn lines_of(committed: &Value, found: &Value) -> String {
        differences(NUMBERS, committed, found).remove(0).cell
    }

    /// What a descent that was cut off leaves is compared loosely, counts too, and its flag may turn; where neither was
    /// cut off, nothing is.
    #[test]
    fn flags_and_counts_have_the_tolerance_of_their_kind() {
        let cell = |cut_off: bool, rank: usize| json!({ "cut_off": cut_off, "fitted": { "rank": rank }, "bound": 4 });
        assert_eq!(lines(&cell(true, 3), &cell(false, 4)), [""; 0]);
        assert_eq!(lines(&cell(false, 3), &cell(true, 4)), [""; 0]);
        assert_eq!(lines(&cell(false, 3), &cell(false, 4)).len(), 1);
        assert_eq!(lines(&cell(true, 3), &cell(true, 5)).len(), 1);
        assert_eq!(lines(&json!({ "cut": true }), &json!({ "cut": false })).len(), 1);
    }

    #[test]
    fn what_is_no_number_agrees_with_none() {
        assert_eq!(lines(&json!({ "error": null }), &json!({ "error": 0.0 })).len(), 1);
        assert_eq!(lines(&json!({ "error": null }), &json!({ "error": null })), [""; 0]);
    }
}
