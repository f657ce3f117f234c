//! Chapter: what becomes of rank and size of updates while they are trained?
//!
//! Adapters are trained by Adam, on new samples at each step, in two [settings](Setting):
//!
//! * a regression: a frozen layer $W_0$ `[n, n]` is to become $W_0 + D$, where $D$ has random singular vectors and the
//!   spectrum $1/k$, so that the expected loss is $\lVert \Delta W - D \rVert_F^2$;
//! * the UNet of Stable Diffusion in a tiny configuration is to tell the noise, every layer of it adapted.
//!
//! Adapters are told the step and its times as in training: DyLoRA trains one rank of its nest at each step, T-LoRA the
//! ranks that its mask leaves at the time. The regression is the same at every time; one is drawn for each step. Updates are
//! measured whole, with every rank.
//!
//! At steps 1, 2, 4, ... the updates of all layers are measured: rank measures, size beside the base weight, and
//! intruder dimensions of the tuned weight (arXiv:2410.21228).

mod findings;
mod training;
mod view;

use burn::tensor::DType;
use higanbana_adapters::Injection;
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use crate::{
    chapter::{Chapter, Record},
    experiment::{Experiment, Failure, Lab, Progress},
    gamma::{Adapted, Denoising, unet},
    regression::Regression,
    study::Study,
    subject::{Subject, layer},
};
use training::follow;

/// Bound of likeness of an intruder, and leading directions among which they are counted.
const LIKENESS: f64 = 0.6;
const LEADING: usize = 8;

/// Element type of the trainings.
const DTYPE: DType = DType::F64;

/// The experiment.
#[derive(Debug)]
pub struct Spectra;

/// One adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm, with a set of options behind a colon.
    pub adapter: String,
    /// What is trained.
    pub setting: Setting,
    /// Learning rate.
    pub rate: f64,
    /// Number of steps.
    pub steps: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Seed.
    pub seed: u64,
}

/// What is trained, and how large an adapter it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Setting {
    /// A layer that is to become another.
    Regression {
        /// $n$.
        size: usize,
        /// $\lVert D \rVert_F$ in units of $\sqrt n$, which $\lVert W_0 \rVert_F$ is in expectation.
        distance: f64,
        /// Parameters within which the adapter's size is chosen.
        budget: usize,
    },
    /// The UNet.
    Unet {
        /// Rank of the adapters, of algorithms that have one.
        rank: usize,
    },
}

/// The updates after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Steps so far.
    pub step: usize,
    /// Trained values.
    pub parameters: usize,
    /// Square root of the expected loss, in units of that without an update.
    pub error: f64,
    /// $\lVert \Delta W \rVert_F / \lVert W_0 \rVert_F$ of all layers together.
    pub relative: f64,
    /// Of a layer.
    #[serde(flatten)]
    pub layer: Means,
}

/// Means over the layers; [`Measures`](crate::measures::Measures) says what of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Means {
    /// $\lVert \Delta W \rVert_2 / \lVert W_0 \rVert_2$.
    pub spectral: f64,
    /// Numerical rank.
    pub rank: f64,
    /// Stable rank.
    pub stable_rank: f64,
    /// Effective rank.
    pub effective_rank: f64,
    /// Least rank with 90 % of the energy.
    pub rank_90: f64,
    /// Least rank with 99 % of the energy.
    pub rank_99: f64,
    /// Intruders among the first eight directions of $W_0 + \Delta W$.
    pub intruders: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    regression: Sizes<RegressionPlan>,
    unet: Sizes<UnetPlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes<T> {
    default: T,
    full: T,
}

impl<T> Sizes<T> {
    fn choose(self, full: bool) -> T {
        if full { self.full } else { self.default }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegressionPlan {
    size: usize,
    distance: f64,
    budgets: Vec<usize>,
    training: Training,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnetPlan {
    ranks: Vec<usize>,
    training: Training,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    rate: f64,
    batch: usize,
    steps: usize,
    seeds: u64,
}

impl Experiment for Spectra {
    const NAME: &'static str = "spectra";
    const TITLE: &'static str = "Rank and size of updates while they are trained";
    type Parameters = Parameters;
    type Outcome = Vec<Moment>;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        if p.batch == 0 || p.steps == 0 {
            return Err("`batch` or `steps` is 0".into());
        }
        if let Setting::Regression { size, .. } = p.setting {
            let (site, _) = layer(&[size, size], &lab.device, 0)?;
            if !subject.fits(&site) {
                return Err(format!("{} does not adapt a {}", p.adapter, site.kind.name()).into());
            }
        }
        Ok(())
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        _: &mut Run,
        progress: Progress,
    ) -> Result<Vec<Moment>, Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let injection = |sized: Subject| {
            Injection::new("spectra", sized.kind.name()).options(sized.options).seed(p.seed)
        };
        match p.setting {
            Setting::Regression { size, distance, budget } => {
                let (shape, device) = ([size; 2], (&lab.device, DTYPE));
                let spectrum = [1.0, distance * (size as f64).sqrt()];
                let task = Regression::new(shape, spectrum, p.batch, device, p.seed)?;
                let sizes = subject.within(budget, &task.site, &task.w0);
                let (_, sized) = sizes.into_iter().next().ok_or("it can be built in no size")?;
                let net = Adapted::new(&task.base(), task, &lab.adapters, &injection(sized))?;
                follow(net, p, progress)
            }
            Setting::Unet { rank } => {
                let base = unet(&lab.device, DTYPE, p.seed);
                let task = Denoising::new(&base, &lab.device, DTYPE, p.seed).batches_of(p.batch);
                let injection = injection(subject.of_rank(rank));
                let net = Adapted::new(&base, task, &lab.adapters, &injection)?;
                follow(net, p, progress)
            }
        }
    }
}

impl Chapter for Spectra {
    const SIDE_BY_SIDE: bool = true;

    fn plan(lab: &Lab, full: bool) -> Result<Vec<Parameters>, Failure> {
        let text = include_str!("../../../experiments/04-spectra-of-training/experiment.toml");
        let Plan { regression, unet } = toml::from_str(text)?;
        let (regression, unet) = (regression.choose(full), unet.choose(full));
        let (size, distance) = (regression.size, regression.distance);
        let (site, _) = layer(&[size, size], &lab.device, 0)?;
        let subjects = Subject::all(&lab.adapters, full);
        let mut runs = Vec::new();
        let mut add = |subject: &Subject, setting: Setting, training: &Training| {
            let &Training { rate, batch, steps, seeds } = training;
            runs.extend((0..seeds).map(|seed| Parameters {
                adapter: subject.label.clone(),
                setting: setting.clone(),
                rate,
                steps,
                batch,
                seed,
            }));
        };
        for subject in subjects.iter().filter(|it| it.fits(&site)) {
            for &budget in &regression.budgets {
                let setting = Setting::Regression { size, distance, budget };
                add(subject, setting, &regression.training);
            }
        }
        for subject in &subjects {
            for &rank in &unet.ranks {
                add(subject, Setting::Unet { rank }, &unet.training);
            }
        }
        Ok(runs)
    }

    fn study(records: &[Record<Self>]) -> Study {
        view::study(records)
    }
}
