//! `higanbana scaling`: which learning rate and initial values make two alphas the same training.

use anyhow::{Result, bail};
use clap::Args;
use higanbana_lab::gamma::{Subject, rule};
use higanbana_train::{Rule, Scaling};
use serde_json::json;

use crate::output;

/// What to change with alpha, so that training stays the same
///
/// Example: higanbana scaling --adapter loha --from-alpha 16 --to-alpha 1 --rank 8 --optimizer adamw
#[derive(Args)]
pub struct Arguments {
    /// Algorithm, with a set of options behind a colon
    #[arg(long)]
    adapter: String,
    /// The alpha that is known to train well
    #[arg(long, allow_negative_numbers = true)]
    from_alpha: f64,
    /// The alpha to go to
    #[arg(long, allow_negative_numbers = true)]
    to_alpha: f64,
    /// Rank, at both
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rank: u64,
    /// Scale by alpha / sqrt(rank), at both
    #[arg(long)]
    rs_lora: bool,
    /// Optimizer
    #[arg(long)]
    optimizer: String,
    /// LoRA+: what the learning rate of the second factor is multiplied by
    #[arg(long, value_name = "RATIO", allow_negative_numbers = true)]
    lora_plus: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what to change.
pub fn run(arguments: &Arguments) -> Result<()> {
    let registry = crate::registry();
    let subject = Subject::named(&registry, &arguments.adapter)?;
    let rule = rule(&arguments.optimizer)?;
    for (option, alpha) in [("from", arguments.from_alpha), ("to", arguments.to_alpha)] {
        if !(alpha > 0.0 && alpha.is_finite()) {
            bail!("--{option}-alpha is {alpha}: give a positive number");
        }
    }
    if !subject.has_option(&registry, "alpha") {
        bail!("{} has no alpha; `higanbana theorem` takes a gamma for it", arguments.adapter);
    }
    let rank = arguments.rank as f64;
    let divisor = if arguments.rs_lora { rank.sqrt() } else { rank };
    let (from, to) = (arguments.from_alpha / divisor, arguments.to_alpha / divisor);
    let ignored = subject.ignores(&registry, "alpha")?;
    // W0 + from T(A) = W0 + to ((from/to) T(A)).
    let gamma = if ignored { 1.0 } else { arguments.from_alpha / arguments.to_alpha };
    let scaling = Scaling::for_gamma(&subject.homogeneity(&registry)?, rule, gamma)?;
    let plus = arguments.lora_plus.map(|ratio| lora_plus(&scaling, ratio)).transpose()?;
    if arguments.json {
        return output::json(&as_json(arguments, &scaling, [from, to], ignored, plus));
    }
    let Arguments { adapter, from_alpha, to_alpha, .. } = arguments;
    if ignored {
        return output::line(format!(
            "{adapter} ignores alpha: at {from_alpha} and at {to_alpha} it is the same training, \
             nothing has to change"
        ));
    }
    output::line(format!(
        "{adapter}, rank {}: alpha {from_alpha} (gamma {from}) and alpha {to_alpha} (gamma {to}) train \
         the same under {} when, going to alpha {to_alpha},",
        arguments.rank, rule.title
    ))?;
    let mut table = output::table(&["tensors", "initial values>", "learning rate>", "other"]);
    for (index, block) in scaling.blocks.iter().enumerate() {
        let other: Vec<String> = others(rule, &scaling, index)
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
    output::show(&table)?;
    output::line("")?;
    output::line(format!("The degree is {} and c = {}: {}.", scaling.degree, rule.c(), rule.why))?;
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

/// Factors of everything else: hyperparameters that scale, and the threshold of clipping.
fn others(rule: &Rule, scaling: &Scaling, block: usize) -> Vec<(&'static str, f64)> {
    let scaled = rule.hyperparameters.iter().filter(|h| h.power != 0);
    let factors = scaled.map(|h| (h.name, scaling.factor(block, h.power)));
    factors.chain([("clipping threshold", scaling.threshold(block))]).collect()
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
    scaling: &Scaling,
    [from, to]: [f64; 2],
    ignored: bool,
    plus: Option<(f64, f64)>,
) -> serde_json::Value {
    let rule = scaling.rule;
    let block = |index: usize| {
        let settings: serde_json::Map<String, serde_json::Value> = others(rule, scaling, index)
            .into_iter()
            .map(|(name, factor)| (name.replace(' ', "_"), json!(factor)))
            .collect();
        let state: serde_json::Map<String, serde_json::Value> = rule
            .state
            .iter()
            .map(|(name, power)| (name.to_string(), json!(scaling.factor(index, *power))))
            .collect();
        json!({
            "tensors": scaling.blocks[index].names,
            "exponent": scaling.blocks[index].exponent,
            "initial": scaling.blocks[index].factor,
            "learning_rate": scaling.rate(index),
            "hyperparameters": settings,
            "state": state,
        })
    };
    let mut value = json!({
        "adapter": arguments.adapter,
        "optimizer": rule.name,
        "rank": arguments.rank,
        "from_alpha": arguments.from_alpha,
        "to_alpha": arguments.to_alpha,
        "from_gamma": from,
        "to_gamma": to,
        "alpha_ignored": ignored,
        "degree": scaling.degree,
        "c": rule.c(),
        "factors": (0..scaling.blocks.len()).map(block).collect::<Vec<_>>(),
    });
    if let Some((initial, rate)) = plus {
        value["lora_plus"] = json!({
            "ratio": arguments.lora_plus,
            "initial_of_first_factor": initial,
            "learning_rate": rate,
        });
    }
    value
}

fn short(factor: f64) -> String {
    let text = format!("{factor:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if (1e-3..1e6).contains(&factor) { text.into() } else { format!("{factor:.3e}") }
}
