//! From the description of a sweep to its runs.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Plan, Planned};
use crate::experiment::{ExperimentKind, Lab};

/// More are a mistake.
const MOST: usize = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    experiment: String,
    #[serde(default)]
    parameters: Table,
    axes: Option<Value>,
}

/// A parameter, as the keys that lead to it, and the values that it takes.
type Axis<'a> = (Vec<&'a str>, &'a [Value]);

pub(super) fn plan(text: &str, lab: &Lab) -> Result<Plan, String> {
    let description: Description = toml::from_str(text).map_err(|error| {
        let line = text[..error.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    let Description { experiment, parameters, axes } = &description;
    let kind = lab.experiments.get(experiment)?;
    let empty = Table::new();
    let grids = match axes {
        None => vec![&empty],
        Some(Value::Table(grid)) => vec![grid],
        Some(Value::Array(grids)) if grids.is_empty() => {
            return Err(
                "`axes` is empty; write [axes] with values, or leave it out for one run".into()
            );
        }
        Some(Value::Array(grids)) if grids.iter().all(Value::is_table) => {
            grids.iter().filter_map(Value::as_table).collect()
        }
        Some(other) => return Err(format!("`axes` is {other}, not a table; write [axes]")),
    };
    let mut runs = Vec::new();
    for grid in grids {
        let mut axes = Vec::new();
        find_axes(grid, &mut Vec::new(), &mut axes)?;
        let sizes = axes.iter().map(|(_, values)| values.len());
        let size = sizes.clone().try_fold(1, usize::checked_mul).unwrap_or(usize::MAX);
        if runs.len().saturating_add(size) > MOST {
            return Err(format!("describes more than {MOST} runs"));
        }
        for number in 0..size {
            let place = digits(number, sizes.clone());
            let values = axes.iter().zip(place).map(|((keys, values), at)| (keys, &values[at]));
            runs.push(run(runs.len(), kind, lab, parameters, values)?);
        }
    }
    let mut seen = BTreeMap::new();
    for run in &runs {
        if let Some(first) = seen.insert(&run.run, run.index) {
            return Err(format!("runs {first} and {} are the same; remove one value", run.index));
        }
    }
    Ok(Plan { runs })
}

/// Axes in the order of the alphabet.
fn find_axes<'a>(
    grid: &'a Table,
    keys: &mut Vec<&'a str>,
    axes: &mut Vec<Axis<'a>>,
) -> Result<(), String> {
    for (key, value) in grid {
        keys.push(key);
        let name = keys.join(".");
        match value {
            Value::Table(below) => find_axes(below, keys, axes)?,
            Value::Array(values) if values.is_empty() => {
                return Err(format!("axis `{name}` has no value"));
            }
            Value::Array(values) => axes.push((keys.clone(), values)),
            other => return Err(format!("axis `{name}` is no array; write {name} = [{other}]")),
        }
        keys.pop();
    }
    Ok(())
}

/// The digits of a number, most significant first, where each place has a base of its own.
fn digits(mut number: usize, bases: impl DoubleEndedIterator<Item = usize>) -> Vec<usize> {
    let mut digits: Vec<usize> = bases
        .rev()
        .map(|base| {
            let digit = number % base;
            number /= base;
            digit
        })
        .collect();
    digits.reverse();
    digits
}

fn run<'a>(
    index: usize,
    kind: &ExperimentKind,
    lab: &Lab,
    parameters: &Table,
    values: impl Iterator<Item = (&'a Vec<&'a str>, &'a Value)>,
) -> Result<Planned, String> {
    let mut parameters = parameters.clone();
    let (mut label, mut place) = (kind.name().to_string(), Vec::new());
    for (keys, value) in values {
        place.push(format!("{} = {value}", keys.join(".")));
        name(value, &mut label);
        set(&mut parameters, keys, value).map_err(|()| {
            format!("axis `{}` lies within a parameter that is no table", keys.join("."))
        })?;
    }
    let refused = |reason: String| match place.is_empty() {
        true => format!("run {index}: {reason}"),
        false => format!("run {index} ({}): {reason}", place.join(", ")),
    };
    let parameters = kind.resolve(&parameters, lab).map_err(|error| refused(error.to_string()))?;
    if let Some(name) = beyond_json(&parameters, "") {
        return Err(refused(format!("`{name}` is a number or a date that JSON does not have")));
    }
    Ok(Planned::new(index, &label, kind.name(), parameters))
}

/// Sets the value below these keys.
fn set(table: &mut Table, keys: &[&str], value: &Value) -> Result<(), ()> {
    match keys {
        [] => Err(()),
        [key] => {
            table.insert((*key).into(), value.clone());
            Ok(())
        }
        [key, below @ ..] => {
            let entry = table.entry(*key).or_insert_with(|| Table::new().into());
            set(entry.as_table_mut().ok_or(())?, below, value)
        }
    }
}

/// Adds a value to the name of a run.
fn name(value: &Value, label: &mut String) {
    /// Of the whole name; file systems allow 255 bytes.
    const LONGEST: usize = 100;
    let text = match value {
        Value::Table(values) => return values.values().for_each(|value| name(value, label)),
        Value::Array(values) => return values.iter().for_each(|value| name(value, label)),
        Value::String(text) => text.clone(),
        Value::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    };
    label.push('-');
    label.extend(text.chars().map(|c| match c {
        '.' | '+' | '_' | '-' => c,
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    }));
    label.truncate(LONGEST);
}

/// The key of a value that JSON cannot hold.
fn beyond_json(table: &Table, path: &str) -> Option<String> {
    fn within(value: &Value, path: String) -> Option<String> {
        match value {
            Value::Table(table) => beyond_json(table, &format!("{path}.")),
            Value::Array(values) => values.iter().find_map(|value| within(value, path.clone())),
            Value::Float(number) if !number.is_finite() => Some(path),
            Value::Datetime(_) => Some(path),
            _ => None,
        }
    }
    table.iter().find_map(|(key, value)| within(value, format!("{path}{key}")))
}
