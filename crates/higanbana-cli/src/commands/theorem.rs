//! `higanbana theorem`: is training with gamma the same as training without it?

mod show;

use anyhow::{Result, anyhow};
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use higanbana_lab::{
    gamma::{self, GammaError, Network, Question, Start, Subject},
    parallel,
};
use higanbana_train::Rule;

use self::show::Row;
use crate::{compute::Compute, output};

/// Train with gamma and without, and compare every update
///
/// Example: higanbana theorem --adapter loha --optimizer adamw --gamma 0.0625
#[derive(Args)]
pub struct Arguments {
    /// Algorithm, with a set of options behind a colon: lora, lokr:full_matrix
    #[arg(long, required_unless_present = "all")]
    adapter: Option<String>,
    /// Optimizer
    #[arg(long, required_unless_present = "all")]
    optimizer: Option<String>,
    /// What is trained
    #[arg(long, value_enum, default_value = "mlp")]
    net: Net,
    /// The merge ratio; without it, the one that a factor of 1/4 for every tensor replaces
    #[arg(long, allow_negative_numbers = true)]
    gamma: Option<f64>,
    /// Element type
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Float,
    /// Number of steps: 200, or 20 of the UNet
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Seed of the network, the adapter and the batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// From which values adapters start
    #[arg(long, value_enum, default_value = "noise")]
    start: From,
    /// Every adapter with every optimizer, a line each; --adapter or --optimizer narrow it. A cell of which the
    /// theorem says nothing has its reason; one that fails, even by a panic, leaves the others
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    compute: Compute,
    /// Print JSON: one object, or one a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Float {
    /// Single precision
    F32,
    /// Double precision
    F64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Net {
    /// Two layers and a nonlinearity
    Mlp,
    /// The UNet of Stable Diffusion, tiny, every layer with a gamma of its own made from this one
    Unet,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// Their own, at which the update is zero; some optimizers have no theorem there
    Own,
    /// Noise, at which the update is of the size of the weight
    Noise,
}

/// An optimizer by name; or why it has no rule.
type Named = (String, Result<&'static Rule, String>);

/// Trains and compares.
pub fn run(arguments: &Arguments) -> Result<()> {
    let lab = crate::lab(arguments.compute.device()?);
    let registry = &lab.adapters;
    let subjects = match &arguments.adapter {
        Some(label) => vec![Subject::named(registry, label)?],
        None => Subject::all(registry),
    };
    let rules: Vec<Named> = match &arguments.optimizer {
        Some(name) => vec![(name.clone(), Ok(gamma::rule_among(&lab.optimizers, name)?))],
        None => lab
            .optimizers
            .iter()
            .map(|known| (known.name().into(), gamma::rule_of(&known)))
            .collect(),
    };
    let dtype = arguments.dtype();
    if let Some(gamma) = arguments.gamma {
        gamma::check(gamma, dtype)?;
    }
    let pairs: Vec<(&Subject, &Named)> =
        subjects.iter().flat_map(|subject| rules.iter().map(move |rule| (subject, rule))).collect();
    let answer = |&(subject, (name, rule)): &(&Subject, &Named)| {
        let rule = rule.as_ref().map_err(|reason| subject.outside(name, reason.clone()))?;
        subject.guarded(rule, || {
            let gamma = arguments.gamma.map_or_else(|| subject.dyadic_gamma(registry), Ok)?;
            let question = arguments.question(Question::new(subject, rule, gamma), dtype);
            question.answer(registry, &lab.device)
        })
    };
    if !arguments.all {
        let bar = output::progress(0);
        let answer = answer(&pairs[0]);
        bar.finish_and_clear();
        let answer = answer?;
        if arguments.json {
            output::json(&answer)?;
        } else {
            show::describe(&answer)?;
        }
        return match answer.contradictions() {
            found if found.is_empty() => Ok(()),
            found => Err(anyhow!(found.join("; "))),
        };
    }
    let bar = output::progress(pairs.len());
    let answers = parallel::all(&pairs, |pair| {
        let answer = answer(pair);
        bar.inc(1);
        answer
    });
    bar.finish_and_clear();
    let mut failures = Vec::new();
    for ((subject, (optimizer, _)), answer) in pairs.iter().zip(answers) {
        let row = Row { adapter: &subject.label, optimizer, answer: &answer };
        if arguments.json {
            output::json_text(row.json()?.to_string())?;
        } else {
            output::line(row.line())?;
        }
        match answer {
            Ok(answer) => failures.extend(answer.contradictions()),
            Err(GammaError::Outside { .. }) => {}
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.iter().for_each(output::say);
    match failures.len() {
        0 => Ok(()),
        n => Err(anyhow!("{n} of the comparisons failed, or contradict the theorem")),
    }
}

impl Arguments {
    fn dtype(&self) -> DType {
        match self.dtype {
            Float::F32 => DType::F32,
            Float::F64 => DType::F64,
        }
    }

    fn question<'s>(&self, question: Question<'s>, dtype: DType) -> Question<'s> {
        let (net, default) = match self.net {
            Net::Mlp => (Network::Mlp, 200),
            Net::Unet => (Network::Unet, 20),
        };
        let steps = self.steps.map_or(default, |steps| steps as usize);
        let start = match self.start {
            From::Own => Start::Own,
            From::Noise => Start::Noise,
        };
        let (seed, controls, alpha) = (self.seed, true, true);
        Question { net, dtype, steps, seed, start, controls, alpha, ..question }
    }
}
