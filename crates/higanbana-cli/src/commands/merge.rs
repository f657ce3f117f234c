//! `higanbana merge`: adapters become part of the base.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser, ValueParser},
};
use higanbana_io::apply::{Merge, Placed, Planned, Source};
use serde_json::json;

use crate::{output, refit::Arithmetic};

/// Merge adapters into a base model: W = W0 + Σ (W_i(μ_i) − W0), each from the untouched base
///
/// Example: higanbana merge base.safetensors style.safetensors:0.8 other.safetensors -o merged.safetensors
#[derive(Args)]
pub struct Arguments {
    /// The base model
    base: PathBuf,
    /// Adapter files, each with its strength: as trained is 1, a negative one takes away
    #[arg(required = true, value_name = "ADAPTER[:MU]", value_parser = adapter())]
    adapters: Vec<Adapter>,
    /// The merged model
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Strength of the adapters that are given without one
    #[arg(long, default_value_t = 1.0, value_name = "MU", allow_negative_numbers = true)]
    #[arg(value_parser = strength)]
    multiplier: f64,
    #[command(flatten)]
    completeness: output::Completeness,
    /// Replace an existing output
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An adapter file as it is named on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The file.
    pub path: PathBuf,
    /// Its strength, where one is given.
    pub strength: Option<f64>,
}

/// Splits `ADAPTER:MU`. Names may hold colons: what is there under the whole name is meant; else a
/// number after the last colon is a strength, and anything else that follows the name of a file was
/// meant to be one.
fn parse(text: &OsStr) -> Result<Adapter, String> {
    let named = |path: &OsStr, strength| match path.is_empty() {
        true => Err("name an adapter file before the strength".to_string()),
        false => Ok(Adapter { path: path.into(), strength }),
    };
    match split(text) {
        _ if Path::new(text).exists() => named(text, None),
        Some((path, mu)) if mu.parse::<f64>().is_ok() || Path::new(&path).is_file() => {
            named(&path, Some(strength(&mu)?))
        }
        _ => named(text, None),
    }
}

/// [`parse`], of a name in whatever encoding.
pub fn adapter() -> ValueParser {
    OsStringValueParser::new().try_map(|text| parse(&text)).into()
}

/// What stands before and after the last colon.
#[cfg(unix)]
fn split(text: &OsStr) -> Option<(OsString, String)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':')?;
    let after = String::from_utf8_lossy(&bytes[colon + 1..]).into_owned();
    Some((OsStr::from_bytes(&bytes[..colon]).into(), after))
}

#[cfg(not(unix))]
fn split(text: &OsStr) -> Option<(OsString, String)> {
    let (path, after) = text.to_str()?.rsplit_once(':')?;
    Some((path.into(), after.into()))
}

impl Adapter {
    /// The file with its strength; as trained where none is given.
    pub fn source(&self) -> Source {
        Source { path: self.path.clone(), strength: self.strength.unwrap_or(1.0) }
    }
}

fn strength(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(mu) if mu.is_finite() => Ok(mu),
        _ => Err(format!("a strength is a number such as 0.8 or -1, not {text:?}")),
    }
}

/// Merges.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let (device, dtype) = arguments.arithmetic.resolve()?;
    let sources = arguments.adapters.iter().map(|adapter| Source {
        path: adapter.path.clone(),
        strength: adapter.strength.unwrap_or(arguments.multiplier),
    });
    let sources: Vec<Source> = sources.collect();
    let inputs = sources.iter().map(|source| &*source.path).chain([&*arguments.base]);
    output::differs_from_inputs(&arguments.output, inputs)?;
    let registry = crate::registry();
    let merge =
        output::steps(|_| Ok(Merge::plan(&arguments.base, &sources, &registry, &device, dtype)?))?;
    for Planned { source, placed, .. } in merge.planned() {
        let Placed { notes, leftovers, .. } = placed;
        arguments.completeness.check(&source.path, notes, leftovers)?;
    }
    output::steps(|step| {
        let progress = |key: &str| step(key, merge.tensors());
        Ok(merge.write(&arguments.output, arguments.overwrite, progress)?)
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    if arguments.json { json(arguments, &merge, seconds) } else { show(arguments, &merge, seconds) }
}

fn show(arguments: &Arguments, merge: &Merge, seconds: f64) -> Result<()> {
    for Planned { source, dialect, placed } in merge.planned() {
        output::line(format!(
            "{} at {}: {} of {dialect} for {} of the base",
            source.path.display(),
            source.strength,
            output::count(placed.modules, "module"),
            output::count(placed.parameters, "tensor")
        ))?;
    }
    output::line(format!(
        "{}: {} of {} tensors changed, in {seconds:.1} s",
        arguments.output.display(),
        merge.changed(),
        merge.tensors()
    ))
}

fn json(arguments: &Arguments, merge: &Merge, seconds: f64) -> Result<()> {
    let adapters = merge.planned().iter().map(|planned| {
        json!({
            "file": planned.source.path.to_string_lossy(),
            "strength": planned.source.strength,
            "dialect": planned.dialect.name(),
            "modules": planned.placed.modules,
            "parameters": planned.placed.parameters,
            "leftovers": planned.placed.leftovers,
            "notes": planned.placed.notes,
        })
    });
    output::json(&json!({
        "output": arguments.output.to_string_lossy(),
        "base": arguments.base.to_string_lossy(),
        "adapters": adapters.collect::<Vec<_>>(),
        "tensors": merge.tensors(),
        "changed": merge.changed(),
        "seconds": seconds,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_after_the_last_colon_is_a_strength() {
        for (text, path, strength) in [
            ("a.safetensors", "a.safetensors", None),
            ("a.safetensors:0.8", "a.safetensors", Some(0.8)),
            ("a.safetensors:-1", "a.safetensors", Some(-1.0)),
            ("C:\\a.safetensors", "C:\\a.safetensors", None),
            ("C:\\a.safetensors:1e-1", "C:\\a.safetensors", Some(0.1)),
            ("a:b", "a:b", None),
            ("a:1:2", "a:1", Some(2.0)),
            ("a:", "a:", None),
        ] {
            assert_eq!(parse(text.as_ref()), Ok(Adapter { path: path.into(), strength }), "{text}");
        }
    }

    #[test]
    fn what_is_no_strength_is_refused() {
        for text in ["", ":0.5", "a:inf", "a:NaN"] {
            assert!(parse(text.as_ref()).is_err(), "{text}");
        }
        assert!(strength("much").is_err());
    }
}
