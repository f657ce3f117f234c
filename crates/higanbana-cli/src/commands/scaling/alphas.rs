//! The factors between two alphas, as text and as JSON.

use anyhow::{Context, Result, bail};
use higanbana_lab::{
    forms::{Form, Scale, forms},
    subject::Subject,
};
use higanbana_train::{
    Rule, Scaling,
    scaling::{Part, Sharing, judge, one_norm},
};
use serde_json::json;

use super::Arguments;
use crate::output;

/// Prints them, or the reason why there are none.
pub fn run(arguments: &Arguments, subject: &Subject, rule: &'static Rule) -> Result<()> {
    let (from, to) = (arguments.from(), Scale { alpha: arguments.to_alpha, ..arguments.from() });
    let forms = forms(subject, from, to).with_context(|| arguments.adapter.clone())?;
    let layers: Vec<_> = forms.iter().map(|form| form.layer.clone()).collect();
    let scalings =
        judge(&layers, rule, Sharing::Together).with_context(|| arguments.adapter.clone())?;
    let plus = arguments.lora_plus.map(|ratio| lora_plus(&scalings[0], ratio)).transpose()?;
    let ignored = layers.iter().all(|layer| layer.gamma == 1.0) && from != to;
    if arguments.json {
        return output::json(&as_json(arguments, &forms, &scalings, [from, to], ignored, plus));
    }
    let Arguments { adapter, from_alpha, to_alpha, .. } = arguments;
    if ignored {
        return output::line(format!(
            "{adapter} ignores alpha: at {from_alpha} and at {to_alpha} it is the same training, \
             nothing has to change"
        ));
    }
    output::line(format!(
        "{adapter}, rank {}: alpha {from_alpha} (gamma {}) and alpha {to_alpha} (gamma {}) train \
         the same under {} when, going to alpha {to_alpha},",
        arguments.rank,
        from.value(),
        to.value(),
        rule.title
    ))?;
    for (form, scaling) in forms.iter().zip(&scalings) {
        if forms.len() > 1 {
            output::line(format!("in a {}", form.sites.join(", a ")))?;
        }
        table(scaling, one_norm(&scalings))?;
        output::line("")?;
    }
    let degrees: Vec<String> = scalings.iter().map(|scaling| scaling.degree.to_string()).collect();
    output::line(format!(
        "The degree is {} and c = {}: {}.",
        degrees.join(", or "),
        rule.c(),
        rule.why
    ))?;
    stays(&scalings)?;
    if let Some((initial, rate)) = plus {
        output::line(format!(
            "LoRA+ with ratio {} is a single rate with the initial values of the first factor × {} and the \
             learning rate of both × {}.",
            arguments.lora_plus.unwrap_or(1.0),
            short(initial),
            short(rate)
        ))?;
    }
    Ok(())
}

/// The factors of a form.
fn table(scaling: &Scaling, one_norm: bool) -> Result<()> {
    let mut table = output::table(&["tensors", "initial values>", "learning rate>", "other"]);
    for (index, block) in scaling.blocks.iter().enumerate() {
        let other: Vec<String> = others(scaling, index, one_norm)
            .into_iter()
            .map(|(name, factor)| format!("{name} × {}", short(factor)))
            .collect();
        table.add_row([
            block.to_string(),
            format!("× {}", short(block.factor)),
            format!("× {}", short(scaling.rate(index))),
            other.join(", "),
        ]);
    }
    output::show(&table)
}

/// What has a factor of 1 for another reason than its degree, and what that means for clipping.
fn stays(scalings: &[Scaling]) -> Result<()> {
    let mut zeros = scalings.iter().flat_map(|scaling| &scaling.blocks);
    if let Some(block) = zeros.find(|block| block.part == Part::Zero) {
        let rule = scalings[0].rule;
        let why = rule.needs_nonzero.unwrap_or_default();
        output::line(format!("{block} starts from zeros and takes up nothing: {why}."))?;
    }
    if !one_norm(scalings) {
        output::line(
            "Clipping by one norm of all gradients has no threshold at which it is the same: the factors differ.",
        )?;
    }
    Ok(())
}

/// Factors of everything else: hyperparameters that scale, and the threshold of clipping.
fn others(scaling: &Scaling, block: usize, one_norm: bool) -> Vec<(&'static str, f64)> {
    let scaled = scaling.rule.hyperparameters.iter().filter(|h| h.power != 0);
    let factors = scaled.map(|h| (h.name, scaling.factor(block, h.power)));
    let clipping = one_norm.then(|| ("clipping threshold", scaling.threshold(block)));
    factors.chain(clipping).collect()
}

/// Initial values of the first factor and learning rate of both that LoRA+ with this ratio is.
///
/// With exponents $e$ and $-e$ for the two factors their product stays, and the rates part by
/// $\lambda = a^{-2c}$.
fn lora_plus(scaling: &Scaling, ratio: f64) -> Result<(f64, f64)> {
    let c = scaling.rule.c();
    if scaling.degree != 2 || scaling.blocks.len() != 2 {
        bail!("LoRA+ is about two factors, this adapter has degree {}", scaling.degree);
    }
    if !(ratio > 0.0 && ratio.is_finite()) {
        bail!("--lora-plus is {ratio}: give a positive number");
    }
    if c == 0 {
        bail!("{} has c = 0: a ratio of learning rates is no initial scale", scaling.rule.title);
    }
    Ok((ratio.powf(0.5 / f64::from(c)), ratio.sqrt()))
}

fn as_json(
    arguments: &Arguments,
    forms: &[Form],
    scalings: &[Scaling],
    [from, to]: [Scale; 2],
    ignored: bool,
    plus: Option<(f64, f64)>,
) -> serde_json::Value {
    let rule = scalings[0].rule;
    let one_norm = one_norm(scalings);
    let factors = |scaling: &Scaling| {
        let blocks = 0..scaling.blocks.len();
        blocks.map(|index| block_as_json(scaling, index, one_norm)).collect::<Vec<_>>()
    };
    let mut value = json!({
        "adapter": arguments.adapter,
        "optimizer": rule.name,
        "rank": arguments.rank,
        "from_alpha": arguments.from_alpha,
        "to_alpha": arguments.to_alpha,
        "from_gamma": from.value(),
        "to_gamma": to.value(),
        "alpha_ignored": ignored,
        "degree": scalings[0].degree,
        "c": rule.c(),
        "factors": factors(&scalings[0]),
        "one_norm": one_norm,
    });
    if forms.len() > 1 {
        let pairs = forms.iter().zip(scalings);
        let form = |(form, scaling): (&Form, &Scaling)| json!({ "layers": form.sites, "degree": scaling.degree, "factors": factors(scaling) });
        value["forms"] = pairs.map(form).collect();
    }
    if let Some((initial, rate)) = plus {
        value["lora_plus"] = json!({
            "ratio": arguments.lora_plus,
            "initial_of_first_factor": initial,
            "learning_rate": rate,
        });
    }
    value
}

fn block_as_json(scaling: &Scaling, index: usize, one_norm: bool) -> serde_json::Value {
    let block = &scaling.blocks[index];
    let settings: serde_json::Map<String, serde_json::Value> = others(scaling, index, one_norm)
        .into_iter()
        .map(|(name, factor)| (name.replace(' ', "_"), json!(factor)))
        .collect();
    let state = scaling.rule.state.iter().map(|state| {
        json!({
            "name": state.name,
            "form": state.form,
            "power": state.power,
            "factor": scaling.factor(index, state.power),
        })
    });
    json!({
        "tensors": block.names,
        "exponent": block.exponent,
        "initial": block.factor,
        "learning_rate": scaling.rate(index),
        "hyperparameters": settings,
        "state": state.collect::<Vec<_>>(),
    })
}

fn short(factor: f64) -> String {
    let text = format!("{factor:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if (1e-3..1e6).contains(&factor) { text.into() } else { format!("{factor:.3e}") }
}
