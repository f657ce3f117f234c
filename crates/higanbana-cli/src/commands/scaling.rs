//! `higanbana scaling`: which learning rate and initial values make two alphas the same training.

mod alphas;
mod explain;
mod lost;
mod page;

use anyhow::{Error, Result, bail};
use clap::Args;
use higanbana_lab::{forms::Scale, gamma::rule, subject::Subject};

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
    /// A page of the numbers of the whole recipe in both, each with its reason, and of what cannot be carried over
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    recipe: explain::Recipe,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The scale that is known to train well.
    fn from(&self) -> Scale {
        Scale { alpha: self.from_alpha, rank: self.rank as usize, by_root: self.rs_lora }
    }
}

/// Prints what to change.
pub fn run(arguments: &Arguments) -> Result<()> {
    let registry = crate::registry();
    let subject = Subject::named(&registry, &arguments.adapter).map_err(Error::from_boxed)?;
    let rule = rule(&arguments.optimizer)?;
    for (option, alpha) in [("from", arguments.from_alpha), ("to", arguments.to_alpha)] {
        if !(alpha > 0.0 && alpha.is_finite()) {
            bail!("--{option}-alpha is {alpha}: give a positive number");
        }
    }
    if !subject.has("alpha") {
        bail!("{} has no alpha; `higanbana theorem` takes a gamma for it", arguments.adapter);
    }
    if !subject.has("rs_lora") && (arguments.rs_lora || arguments.recipe.to_root()) {
        bail!("--rs-lora: {} has no scale of alpha / sqrt(rank)", arguments.adapter);
    }
    if arguments.explain {
        return explain::run(arguments, &subject, rule);
    }
    alphas::run(arguments, &subject, rule)
}
