//! What a run does: experiments as rows of a registry.
//!
//! An [`Experiment`] is a question that many runs answer, each for its own parameters: a type of
//! parameters and a function from them to a small result. [`crate::sweep`] plans, performs and collects
//! its runs; it knows none of them by name. One of your own:
//!
//! ```
//! use higanbana_io::run::Run;
//! use higanbana_lab::experiment::{Experiment, Failure, Lab, Progress};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Parameters {
//!     n: u32,
//! }
//!
//! impl Default for Parameters {
//!     fn default() -> Self {
//!         Self { n: 2 }
//!     }
//! }
//!
//! struct Square;
//!
//! impl Experiment for Square {
//!     const NAME: &'static str = "square";
//!     const TITLE: &'static str = "The square of a number";
//!     type Parameters = Parameters;
//!     type Outcome = u32;
//!
//!     fn run(p: &Parameters, _: &Lab, _: &mut Run, _: Progress) -> Result<u32, Failure> {
//!         Ok(p.n.checked_mul(p.n).ok_or("that is too large")?)
//!     }
//! }
//!
//! let mut lab = Lab::new(Default::default());
//! lab.experiments = lab.experiments.with::<Square>();
//! assert_eq!(lab.experiments.get("square").unwrap().title(), "The square of a number");
//! ```
//!
//! # Randomness
//!
//! A run gives the same numbers whenever, wherever and beside whatever it is performed. Two sources of random numbers
//! keep that:
//!
//! * a stream of the run's own, [`stream`](crate::subject::stream) for tensors or
//!   [`higanbana_train::random::stream`] for anything else: it follows from a name and a seed, say one of the
//!   parameters. Runs with the same seed then have the same data, whatever the algorithm, and compare in pairs;
//! * Burn's generator, from which `Tensor::random` and the initial values of Burn's layers come. The process has one:
//!   `device.seed` in one thread changes what another draws. A run therefore has it
//!   [to itself](crate::sweep::Planned::perform), seeded by [`Run::seed`], and may seed it anew, as with
//!   `lab.device.seed(p.seed)`. Threads of others that draw outside of runs would disturb it.
//!
//! The runs of a chapter that takes the first source alone may be
//! [side by side](crate::chapter::Chapter::SIDE_BY_SIDE); [`chapter::unsteady`](crate::chapter::unsteady) is the test.

use burn::tensor::Device;
use higanbana_core::{Registry, nearest};
use higanbana_io::run::Run;
use higanbana_train::Optimizers;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why a run has no result: any error, its message one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Hears how much is done, and of how much.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

/// A question that many runs answer.
pub trait Experiment {
    /// Name in plans.
    const NAME: &'static str;
    /// Name in prose.
    const TITLE: &'static str;
    /// Everything that the result depends on, besides the device: `serde` with `deny_unknown_fields`,
    /// and defaults for what a plan need not say.
    type Parameters: Serialize + DeserializeOwned;
    /// The result: small, since all of them are collected into one table.
    type Outcome: Serialize;

    /// Fills in what depends on other parameters, so that a plan says everything, and refuses what cannot
    /// be run as far as that can be told at once: an algorithm that there is not, for one.
    ///
    /// # Errors
    /// Why it cannot.
    fn resolve(_parameters: &mut Self::Parameters, _lab: &Lab) -> Result<(), Failure> {
        Ok(())
    }

    /// Answers it. Metrics and checkpoints, if there are any, go to `run`; a run with checkpoints goes
    /// on from them after a kill.
    ///
    /// # Errors
    /// Why there is no answer.
    fn run(
        parameters: &Self::Parameters,
        lab: &Lab,
        run: &mut Run,
        progress: Progress,
    ) -> Result<Self::Outcome, Failure>;
}

/// [`Experiment`] as a value.
#[derive(Debug)]
pub struct ExperimentKind {
    name: &'static str,
    title: &'static str,
    resolve: fn(&toml::Table, &Lab) -> Result<toml::Table, Failure>,
    run: fn(&toml::Table, &Lab, &mut Run, Progress) -> Result<Value, Failure>,
}

impl ExperimentKind {
    /// The row of an experiment.
    pub fn of<E: Experiment>() -> Self {
        fn parse<E: Experiment>(table: &toml::Table) -> Result<E::Parameters, Failure> {
            Ok(table
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| error.message().to_string())?)
        }
        Self {
            name: E::NAME,
            title: E::TITLE,
            resolve: |table, lab| {
                let mut parameters = parse::<E>(table)?;
                E::resolve(&mut parameters, lab)?;
                Ok(toml::Table::try_from(parameters)?)
            },
            run: |table, lab, run, progress| {
                let outcome = E::run(&parse::<E>(table)?, lab, run, progress)?;
                Ok(serde_json::to_value(outcome)?)
            },
        }
    }

    /// [`Experiment::NAME`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// [`Experiment::TITLE`].
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The parameters with everything that was left to its default. Resolved ones resolve to themselves.
    ///
    /// # Errors
    /// When one is unknown, ill-typed or wrong.
    pub fn resolve(&self, parameters: &toml::Table, lab: &Lab) -> Result<toml::Table, Failure> {
        (self.resolve)(parameters, lab)
    }

    /// [`Experiment::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run(
        &self,
        parameters: &toml::Table,
        lab: &Lab,
        run: &mut Run,
        progress: Progress,
    ) -> Result<Value, Failure> {
        (self.run)(parameters, lab, run, progress)
    }
}

/// The experiments that a program knows.
#[derive(Debug, Default)]
pub struct Experiments(Vec<ExperimentKind>);

impl Experiments {
    /// Adds one.
    #[must_use]
    pub fn with<E: Experiment>(mut self) -> Self {
        self.0.push(ExperimentKind::of::<E>());
        self
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &ExperimentKind> {
        self.0.iter()
    }

    /// The one of this name.
    ///
    /// # Errors
    /// The known ones, nearest first, when there is none.
    pub fn get(&self, name: &str) -> Result<&ExperimentKind, String> {
        self.iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = nearest(name, self.iter().map(ExperimentKind::name), usize::MAX).join(", ");
            format!("unknown experiment `{name}`: there are {known}")
        })
    }
}

/// What runs have at their disposal.
#[derive(Debug)]
pub struct Lab {
    /// The adapters that there are.
    pub adapters: Registry,
    /// The optimizers that there are.
    pub optimizers: Optimizers,
    /// The experiments that there are.
    pub experiments: Experiments,
    /// Where to compute.
    pub device: Device,
}
