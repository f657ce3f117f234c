//! `higanbana theorem`: is training with gamma the same as training without it?

use anyhow::{Result, anyhow};
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use higanbana_lab::{
    gamma::{self, Answer, Network, Question, Start, Subject},
    parallel,
};
use higanbana_train::optimizers;

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
    /// Every adapter with every optimizer, a line each; --adapter or --optimizer narrow it
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
    /// Their own, at which the update is zero
    Own,
    /// Noise, at which the update is of the size of the weight
    Noise,
}

/// Trains and compares.
pub fn run(arguments: &Arguments) -> Result<()> {
    let registry = crate::registry();
    let device = arguments.compute.device()?;
    let subjects = match &arguments.adapter {
        Some(label) => vec![Subject::named(&registry, label)?],
        None => Subject::all(&registry),
    };
    let rules = match &arguments.optimizer {
        Some(name) => vec![gamma::rule(name)?],
        None => optimizers().iter().collect(),
    };
    let dtype = match arguments.dtype {
        Float::F32 => DType::F32,
        Float::F64 => DType::F64,
    };
    if let Some(gamma) = arguments.gamma {
        gamma::check(gamma, dtype)?;
    }
    let (net, default) = match arguments.net {
        Net::Mlp => (Network::Mlp, 200),
        Net::Unet => (Network::Unet, 20),
    };
    let steps = arguments.steps.map_or(default, |steps| steps as usize);
    let mut questions = Vec::new();
    for subject in &subjects {
        let gamma = match arguments.gamma {
            Some(gamma) => gamma,
            None => subject.dyadic_gamma(&registry)?,
        };
        let seed = arguments.seed;
        let start = match arguments.start {
            From::Own => Start::Own,
            From::Noise => Start::Noise,
        };
        questions.extend(rules.iter().map(|rule| {
            let controls = true;
            let question = Question::new(subject, rule, gamma);
            Question { net, dtype, steps, seed, start, controls, ..question }
        }));
    }
    if !arguments.all {
        let bar = output::progress(0);
        let answer = questions[0].answer(&registry, &device);
        bar.finish_and_clear();
        let answer = answer?;
        if arguments.json {
            output::json(&answer)?;
        } else {
            describe(&answer)?;
        }
        return if answer.holds() { Ok(()) } else { Err(anyhow!(contradiction(&answer))) };
    }
    let bar = output::progress(questions.len());
    let answers = parallel::all(&questions, |question| {
        let answer = question.answer(&registry, &device);
        bar.inc(1);
        answer
    });
    bar.finish_and_clear();
    let mut failures = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => {
                if arguments.json {
                    output::json_text(serde_json::to_string(&answer)?)?;
                } else {
                    output::line(line(&answer))?;
                }
                failures.extend((!answer.holds()).then(|| contradiction(&answer)));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.iter().for_each(output::say);
    match failures.len() {
        0 => Ok(()),
        n => Err(anyhow!("{n} cells have no answer, or contradict the theorem")),
    }
}

fn contradiction(answer: &Answer) -> String {
    let Answer { adapter, optimizer, deviation, bound, .. } = answer;
    let bound = bound.unwrap_or_default();
    format!("{adapter} with {optimizer}: the deviation {deviation:.1e} is larger than {bound:.0e}")
}

fn line(answer: &Answer) -> String {
    let Answer { adapter, optimizer, dtype, gamma, deviation, controls, .. } = answer;
    let least = controls.iter().min_by(|a, b| a.1.total_cmp(b.1));
    let least =
        least.map_or(String::new(), |(name, by)| format!("  least control {name} {by:.1e}"));
    format!(
        "{adapter:<20} {optimizer:<15} {dtype}  gamma {gamma:<11.4e} deviation {deviation:.1e}{least}"
    )
}

fn describe(answer: &Answer) -> Result<()> {
    let Answer { adapter, optimizer, gamma, degree, c, dtype, steps, .. } = answer;
    let own = answer.net == Network::Unet.name();
    let gammas = if own { format!("gammas from {gamma}") } else { format!("gamma {gamma}") };
    output::line(format!("{adapter} with {optimizer}, {gammas}, {steps} steps in {dtype}"))?;
    if own {
        output::line(format!("  degree {degree}, c = {c}: every layer has its own factor"))?;
    } else {
        let a = higanbana_train::scaling::root(*gamma, *degree)?;
        let rate = a.powi(*c);
        output::line(format!(
            "  degree {degree}: initial values times {a}, learning rate times {rate}"
        ))?;
    }
    let same = if answer.bit_exact { ", equal bit for bit" } else { "" };
    output::line(format!("  deviation           {:.1e}{same}", answer.deviation))?;
    if let Some(bound) = answer.bound.filter(|bound| *bound > 0.0) {
        output::line(format!("  has to be below     {bound:.0e}"))?;
    }
    if let Some(why) = answer.unbounded {
        output::line(format!("  measured, no bound  {why}"))?;
    }
    output::line(format!("  clipped on          {:.0} % of the steps", 100.0 * answer.clipped))?;
    output::line("  with one rule broken")?;
    for (name, deviation) in &answer.controls {
        output::line(format!("    {name:<20}{deviation:.1e}"))?;
    }
    for (name, reason) in &answer.not_applicable {
        output::line(format!("    {name:<20}does not apply: {reason}"))?;
    }
    Ok(())
}
