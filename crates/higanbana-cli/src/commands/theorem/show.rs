//! A cell of the table in words.

use anyhow::Result;
use higanbana_lab::gamma::{Answer, GammaError, Network};
use serde_json::{Value, json};

use crate::output;

/// One of many cells.
pub struct Row<'a> {
    pub adapter: &'a str,
    pub optimizer: &'a str,
    pub answer: &'a Result<Answer, GammaError>,
}

impl Row<'_> {
    /// The numbers; `skipped` with the reason where the theorem says nothing, `error` where there is no answer.
    pub fn json(&self) -> Result<Value> {
        let Self { adapter, optimizer, .. } = self;
        Ok(match self.answer {
            Ok(answer) => serde_json::to_value(answer)?,
            Err(GammaError::Outside { reason, .. }) => {
                json!({ "adapter": adapter, "optimizer": optimizer, "skipped": reason })
            }
            Err(error) => {
                json!({ "adapter": adapter, "optimizer": optimizer, "error": error.to_string() })
            }
        })
    }

    /// A line.
    pub fn line(&self) -> String {
        let Self { adapter, optimizer, .. } = self;
        let pair = format!("{adapter:<20} {optimizer:<15}");
        match self.answer {
            Ok(answer) => format!("{pair} {}", numbers(answer)),
            Err(GammaError::Outside { reason, .. }) => format!("{pair} skipped: {reason}"),
            Err(GammaError::Panicked { panic, .. }) => format!("{pair} failed: {panic}"),
            Err(error) => format!("{pair} failed: {error}"),
        }
    }
}

fn numbers(answer: &Answer) -> String {
    let Answer { dtype, gamma, deviation, controls, weak, .. } = answer;
    let shown = controls.iter().filter(|(name, _)| !weak.contains_key(*name));
    let least = shown.min_by(|a, b| a.1.total_cmp(b.1));
    let least =
        least.map_or(String::new(), |(name, by)| format!("  least control {name} {by:.1e}"));
    let found = answer.found.map_or(String::new(), |[k, j]| format!("  found: k = {k}, j = {j}"));
    let weak = match weak.len() {
        0 => String::new(),
        n => format!("  {n} too weak"),
    };
    format!("{dtype}  gamma {gamma:<11.4e} deviation {deviation:.1e}{least}{weak}{found}")
}

/// One cell, in full.
pub fn describe(answer: &Answer) -> Result<()> {
    let Answer { adapter, optimizer, gamma, degree, c, dtype, steps, start, .. } = answer;
    let own = answer.net == Network::Unet.name();
    let gammas = if own { format!("gammas from {gamma}") } else { format!("gamma {gamma}") };
    let start = start.name();
    output::line(format!(
        "{adapter} with {optimizer}, {gammas}, {steps} steps in {dtype} from {start}"
    ))?;
    if own {
        output::line(format!("  degree {degree}, c = {c}: every layer has its own factor"))?;
    } else {
        let scaled = answer.factors.iter().filter(|a| **a != 1.0);
        let scaled =
            scaled.map(|a| format!("initial values times {a}, learning rate times {}", a.powi(*c)));
        let others = answer.factors.contains(&1.0).then(|| "other tensors as they are".into());
        let all = scaled.chain(others).collect::<Vec<_>>().join("; ");
        output::line(format!("  degree {degree}: {all}"))?;
    }
    if let Some([k, j]) = answer.found {
        output::line(format!("  degrees of {optimizer}, found numerically: k = {k}, j = {j}"))?;
    }
    item("deviation", format!("{:.1e}{}", answer.deviation, exact(answer.bit_exact)))?;
    if let Some(bound) = answer.bound.filter(|bound| *bound > 0.0) {
        item("has to be below", format!("{bound:.0e}"))?;
    }
    if let Some(why) = answer.unbounded {
        item("measured, no bound", why)?;
    }
    if answer.rounding > 0.0 {
        let by = format!("{:.0e}, to what the optimizer holds", answer.rounding);
        item("ε, decay rounded by", by)?;
    }
    item("clipped on", format!("{:.0} % of the steps", 100.0 * answer.clipped))?;
    match (&answer.alpha, answer.no_alpha) {
        (Some(alpha), _) => {
            let by = format!("{:.1e}{}", alpha.deviation, exact(alpha.bit_exact));
            item(
                "at a real alpha",
                alpha.apart.as_ref().map_or(by.clone(), |why| format!("{by}: {why}")),
            )?;
            item("off gamma's path by", format!("{:.1e}", alpha.path))?;
        }
        (None, Some(why)) => item("at a real alpha", format!("does not apply: {why}"))?,
        (None, None) => {}
    }
    output::line("  with one rule broken")?;
    for (name, deviation) in &answer.controls {
        let weak = answer.weak.get(name).map_or(String::new(), |why| format!(", {why}"));
        output::line(format!("    {name:<20}{deviation:.1e}{weak}"))?;
    }
    for (name, reason) in &answer.not_applicable {
        output::line(format!("    {name:<20}does not apply: {reason}"))?;
    }
    Ok(())
}

fn item(name: &str, value: impl std::fmt::Display) -> Result<()> {
    output::line(format!("  {name:<20}{value}"))
}

fn exact(bit_exact: bool) -> &'static str {
    if bit_exact { ", equal bit for bit" } else { "" }
}
