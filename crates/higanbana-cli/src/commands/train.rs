//! `higanbana train`: from captioned images to an adapter file, or to a model.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use clap::Args;
use higanbana_io::{
    Checkpoint,
    run::{Begun, Run},
    writer::{self, Place},
};
use higanbana_lab::report::is_page;
use higanbana_train::{Progress, Recipe, Trainer, memory, recipe::ScaleFrom};
use indicatif::HumanDuration;

use crate::{compute::Compute, memory::Room, output, signals};

/// Train an adapter on captioned images, or a model
///
/// The recipe names a model, an algorithm, folders of images, and how to train; the folder of the run then
/// holds the adapter, the metrics (also for TensorBoard), a contact sheet and checkpoints. Several recipes
/// are trained one after the other; what is done already is not done again.
///
/// Example: higanbana train lily.toml --set train.rate=1e-4
#[derive(Args)]
pub struct Arguments {
    /// The recipes
    #[arg(required = true, value_name = "RUN.toml")]
    recipes: Vec<PathBuf>,
    /// Values in place of the recipes', such as train.steps=500
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Begin from random values: of the recipe's model, only the configurations are read
    #[arg(long)]
    from_scratch: bool,
    /// The folder of the run of one recipe; runs/NAME beside it if left out
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with runs that were stopped, or that ended before the steps that are asked for now
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Begin anew the runs in the folders; what is not a run's own stays, or is refused where it is in the way
    #[arg(long)]
    overwrite: bool,
    /// Leave out images that cannot be used, and list them in the result
    #[arg(long)]
    skip_bad: bool,
    /// The alpha that the recipe was published for: it is scaled to the one in use
    #[arg(long, value_name = "alpha=ALPHA", value_parser = alpha)]
    scale_from: Option<f64>,
    /// Begin from this adapter file, of the algorithm and rank of the recipe
    #[arg(long, value_name = "FILE")]
    init_from: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a page that shows the runs side by side, in place of one that is there
    #[arg(long, value_name = "OUT")]
    report: Option<PathBuf>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    room: Room,
}

fn alpha(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix("alpha=").and_then(|number| number.parse().ok());
    number.filter(|alpha| *alpha > 0.0).ok_or_else(|| "give alpha=16, for example".into())
}

/// Trains.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.output.is_some() && arguments.recipes.len() > 1 {
        return Err(output::usage("--output: is the folder of one run; give one recipe"));
    }
    // What is wrong with the last is to be known before the first is trained.
    let trainings = arguments.recipes.iter().map(|path| Training::read(arguments, path));
    let trainings = trainings.collect::<Result<Vec<_>>>()?;
    trainings.iter().try_for_each(|training| training.check(arguments))?;
    if let Some(page) = &arguments.report {
        let inputs = trainings.iter().flat_map(|it| [it.inputs(), it.targets()].concat());
        output::differs_from_inputs(page, inputs.collect::<Vec<_>>().iter().map(|it| &**it))?;
        check_page(page)?;
    }
    let mut folders = Vec::new();
    for training in trainings {
        folders.push(train(arguments, training)?);
    }
    let Some(page) = &arguments.report else { return Ok(()) };
    writer::write_text(page, &higanbana_lab::training::page(&folders)?, true)?;
    output::line(page.display().to_string())
}

/// That a page can be written, in place of nothing or of another page.
fn check_page(path: &Path) -> Result<()> {
    writer::check(path, true)?;
    let mut begin = Vec::new();
    if let Ok(file) = File::open(path) {
        file.take(1 << 12).read_to_end(&mut begin)?;
        if !is_page(&begin) {
            bail!("{}: is no page of this toolkit; name another file for --report", path.display());
        }
    }
    Ok(())
}

/// Where the end of a run is: with a later one it goes on, also when it is done.
const ENDS: [&str; 2] = ["train.steps", "train.epochs"];

/// A training that is asked for.
struct Training<'a> {
    /// The file of the recipe.
    path: &'a Path,
    /// The recipe as it is written down in the folder of the run.
    recipe: Recipe,
    /// The folder of the run.
    folder: PathBuf,
}

impl<'a> Training<'a> {
    fn read(arguments: &Arguments, path: &'a Path) -> Result<Self> {
        let mut overrides = arguments.overrides.clone();
        overrides.extend(arguments.from_scratch.then(|| "from_scratch=true".into()));
        let mut recipe = Recipe::read(path, &overrides)?;
        if let Some(alpha) = arguments.scale_from {
            let Some(adapter) = &mut recipe.adapter else {
                bail!("{}: --scale-from is about an adapter, and there is none", path.display());
            };
            adapter.scale_from = Some(ScaleFrom { alpha });
        }
        if let Some(file) = &arguments.init_from {
            let Some(adapter) = &mut recipe.adapter else {
                bail!("{}: --init-from is about an adapter, and there is none", path.display());
            };
            adapter.init_from = Some(std::path::absolute(file)?);
        }
        let beside = || parent(path).join("runs").join(path.file_stem().unwrap_or_default());
        let folder = arguments.output.clone().unwrap_or_else(beside);
        Ok(Self { path, recipe, folder })
    }

    fn located(&self) -> Recipe {
        self.recipe.clone().located(parent(self.path))
    }

    /// What is read.
    fn inputs(&self) -> Vec<PathBuf> {
        [vec![self.path.into()], self.located().models(), self.located().images()].concat()
    }

    /// What the run writes.
    fn targets(&self) -> Vec<PathBuf> {
        Run::targets(&self.folder, &self.recipe.names())
    }

    /// That the folder is free, or is to be gone on with, before any work is done.
    fn check(&self, arguments: &Arguments) -> Result<()> {
        let folder = &self.folder;
        let goes_on = arguments.resume && Run::extends(folder, &self.recipe.table(), &ENDS);
        let is_new = arguments.overwrite || goes_on;
        if !is_new && Run::result(folder, &self.recipe.table())?.is_some() {
            return Ok(());
        }
        for target in self.targets() {
            output::keeps_apart(&target, self.path)?;
            self.located().models().iter().try_for_each(|it| output::keeps_apart(&target, it))?;
            // Below a folder of images there may be runs.
            let images = self.located().images().into_iter();
            let mut images = images.filter(|it| Place::of(&target, it) != Place::Within);
            images.try_for_each(|it| output::keeps_apart(&target, &it))?;
        }
        lies_beside(folder, self.located().images().iter())?;
        Run::check(folder, &self.recipe.names())?;
        let begun = folder.join("run.toml").exists();
        if begun && !arguments.resume && !arguments.overwrite {
            bail!(
                "{}: holds a run that has not ended; --resume goes on with it, --overwrite begins anew",
                folder.display()
            )
        }
        if !begun && arguments.resume && arguments.recipes.len() == 1 {
            bail!("{}: holds no run to go on with; leave out --resume", folder.display())
        }
        Ok(())
    }
}

/// That a run is not among the images that it trains on: its contact sheet would come to be one of them.
fn lies_beside(folder: &Path, images: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
    match images.into_iter().any(|it| Place::of(folder, it.as_ref()) == Place::Same) {
        true => Err(output::usage(format!(
            "{}: holds images that are trained on; name another output",
            folder.display()
        ))),
        false => Ok(()),
    }
}

/// The folder of a file.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Trains one recipe. Gives the folder of its run.
fn train(arguments: &Arguments, training: Training) -> Result<PathBuf> {
    let begin = Instant::now();
    let located = training.located();
    let Training { path, recipe, folder } = training;
    let table = recipe.table();

    let device = arguments.compute.device()?;
    let less = "lower train.batch or data.resolution, or set train.gradient_checkpointing";
    arguments.room.check(&device, || memory::least(&located), less)?;
    let registry = crate::registry();
    let mut trainer = output::steps(|step| {
        let mut tell = |what: &str, of: usize| step(what, of);
        let trainer = Trainer::new(located, &registry, &device, arguments.skip_bad, &mut tell);
        Ok(trainer.map_err(|error| error.of(path))?)
    })?;
    let feed = trainer.feed();
    let images: BTreeSet<&Path> = feed.pictures.iter().map(|it| parent(&it.path)).collect();
    lies_beside(&folder, images)?;
    output::say(format!(
        "{} to {}, {} values, {}",
        output::count(feed.pictures.len(), "image"),
        folder.display(),
        trainer.parameters(),
        output::count(trainer.steps(), "step")
    ));
    trainer.notes().iter().for_each(|note| output::say(format!("note: {note}")));
    feed.left_out.iter().for_each(|problem| output::say(format!("left out: {problem}")));

    if arguments.resume && Run::extends(&folder, &table, &ENDS) {
        Run::extend(&folder, &table)?;
    }
    let mut run = match arguments.overwrite {
        true => Run::begin_anew(&folder, &table)?,
        false => match Run::begin(&folder, &table)? {
            Begun::Open(run) => run,
            Begun::Done(result) => {
                done(arguments, &folder, &result)?;
                return Ok(folder);
            }
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
    output::say(format!("in {:.1} s", begin.elapsed().as_secs_f64()));
    done(arguments, &folder, &result)?;
    Ok(folder)
}

fn show(bar: &output::Progress, progress: &Progress) {
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
    let file = folder.join(result["file"].as_str().unwrap_or_default());
    if !file.exists() {
        bail!("{}: is gone, though its run is done; --overwrite trains it anew", file.display());
    }
    // Runs of earlier versions do not say how long it was; it does itself.
    if file.extension().is_some_and(|ending| ending == "safetensors") {
        Checkpoint::open(&file)?;
    }
    if arguments.json {
        return output::json(result);
    }
    let loss = |name: &str| result[name].as_f64().map(|loss| format!(", {name} {loss:.4}"));
    output::line(format!(
        "{}: {} steps{}{}",
        file.display(),
        result["steps"],
        loss("loss").unwrap_or_default(),
        loss("validation").unwrap_or_default()
    ))
}
