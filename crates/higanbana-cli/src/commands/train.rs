//! `higanbana train`: from a folder of captioned images to an adapter file.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use clap::Args;
use higanbana_io::run::{Begun, Run, identity};
use higanbana_train::{Progress, Recipe, Trainer, recipe::ScaleFrom};
use indicatif::{HumanDuration, ProgressBar};

use crate::{compute::Compute, output, signals};

/// Train an adapter on captioned images
///
/// The recipe names a model, an algorithm, folders of images, and how to train; the folder of the run then
/// holds the adapter, the metrics (also for TensorBoard), a contact sheet and checkpoints.
///
/// Example: higanbana train lily.toml --set train.rate=1e-4
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The recipe
    #[arg(value_name = "RUN.toml")]
    recipe: PathBuf,
    /// Values in place of the recipe's, such as train.steps=500
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The folder of the run; runs/NAME beside the recipe if left out
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with a run that was stopped
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Begin anew what is in the folder
    #[arg(long)]
    overwrite: bool,
    /// Leave out images that cannot be used, and list them in the result
    #[arg(long)]
    skip_bad: bool,
    /// The alpha that the recipe was published for: it is scaled to the one in use
    #[arg(long, value_name = "alpha=ALPHA", value_parser = alpha)]
    scale_from: Option<f64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

fn alpha(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix("alpha=").and_then(|number| number.parse().ok());
    number.filter(|alpha| *alpha > 0.0).ok_or_else(|| "give alpha=16, for example".into())
}

/// Trains.
pub fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let mut recipe = Recipe::read(&arguments.recipe, &arguments.overrides)?;
    if let Some(alpha) = arguments.scale_from {
        recipe.adapter.scale_from = Some(ScaleFrom { alpha });
    }
    let beside = arguments.recipe.parent().unwrap_or(Path::new(""));
    let stem = arguments.recipe.file_stem().unwrap_or_default();
    let folder = arguments.output.clone().unwrap_or_else(|| beside.join("runs").join(stem));
    let table = recipe.table();
    check(arguments, &folder, &identity(&table))?;

    let device = arguments.compute.device()?;
    let registry = higanbana_adapters::registry();
    let located = recipe.located(beside);
    let mut trainer = output::steps(|step| {
        let mut tell = |what: &str, of: usize| step(what, of);
        let trainer = Trainer::new(located, &registry, &device, arguments.skip_bad, &mut tell);
        Ok(trainer.map_err(|error| error.of(&arguments.recipe))?)
    })?;
    let feed = trainer.feed();
    eprintln!(
        "{} to {}, {} values, {}",
        output::count(feed.pictures.len(), "image"),
        folder.display(),
        trainer.parameters(),
        output::count(trainer.steps(), "step")
    );
    feed.left_out.iter().for_each(|problem| eprintln!("left out: {problem}"));

    let mut run = match arguments.overwrite {
        true => Run::begin_anew(&folder, &table)?,
        false => match Run::begin(&folder, &table)? {
            Begun::Open(run) => run,
            Begun::Done(result) => return done(arguments, &folder, &result),
        },
    };
    let stop = signals::finish_first();
    let bar = output::progress(trainer.steps());
    let outcome = trainer.run(&mut run, &stop, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // The failure itself is what there is to tell of.
            let _ = run.fail(&error.to_string());
            return Err(error.into());
        }
    };
    let result = run.finish(&outcome)?;
    eprintln!("in {:.1} s", begin.elapsed().as_secs_f64());
    done(arguments, &folder, &result)
}

/// That the folder is free, or is to be gone on with, before any work is done.
fn check(arguments: &Arguments, folder: &Path, identity: &str) -> Result<()> {
    use higanbana_io::run::State;
    if arguments.overwrite {
        return Ok(());
    }
    let begun = folder.join("run.toml").exists();
    match State::of(folder, identity)? {
        State::Done(_) => Ok(()),
        _ if begun && !arguments.resume => {
            bail!(
                "{}: holds a run that has not ended; --resume goes on with it, --overwrite begins anew",
                folder.display()
            )
        }
        _ if !begun && arguments.resume => {
            bail!("{}: holds no run to go on with; leave out --resume", folder.display())
        }
        _ => Ok(()),
    }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    // Steps of an earlier process took none of this one's time.
    if bar.position() == 0 {
        bar.set_position(progress.step as u64);
        return bar.reset_eta();
    }
    bar.set_position(progress.step as u64);
    let (step, left) = (bar.per_sec().recip(), HumanDuration(bar.eta()));
    bar.set_message(format!("loss {:.4}, {step:.2} s a step, {left} left", progress.loss));
}

fn done(arguments: &Arguments, folder: &Path, result: &serde_json::Value) -> Result<()> {
    if arguments.json {
        return output::json(result);
    }
    let file = folder.join(result["file"].as_str().unwrap_or_default());
    let loss = |name: &str| result[name].as_f64().map(|loss| format!(", {name} {loss:.4}"));
    output::line(format!(
        "{}: {} steps{}{}",
        file.display(),
        result["steps"],
        loss("loss").unwrap_or_default(),
        loss("validation").unwrap_or_default()
    ))
}
