//! Chapter: what becomes of rank and size of an update while it is trained?
//!
//! A frozen layer $W_0$ `[n, n]` is to become $W_0 + D$, where $D$ has random singular vectors and the spectrum
//! $1/k$; each adapter is trained on fresh normal batches by Adam, so that the expected loss is $\lVert \Delta W - D \rVert_F^2$.
//! At steps 1, 2, 4, ... the update is measured: rank measures, size beside the base weight, and intruder
//! dimensions of the tuned weight (arXiv:2410.21228).

mod view;

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams},
    tensor::Tensor,
};
use higanbana_adapters::{Injection, inject};
use higanbana_core::{
    slot,
    spectrum::{self, Svd},
};
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use crate::{
    chapter::{Chapter, Record},
    experiment::{Experiment, Failure, Lab, Progress},
    measures::Measures,
    study::Study,
    subject::{Subject, layer, stream},
};

/// Bound of likeness of an intruder, and leading directions among which they are counted.
const LIKENESS: f64 = 0.6;
const LEADING: usize = 8;

/// The experiment.
#[derive(Debug)]
pub struct Spectra;

/// One adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm, with a set of options behind a colon.
    pub adapter: String,
    /// $n$.
    pub size: usize,
    /// Parameters within which its size is chosen.
    pub budget: usize,
    /// $\lVert D \rVert_F / \lVert W_0 \rVert_F$.
    pub distance: f64,
    /// Learning rate.
    pub rate: f64,
    /// Number of steps.
    pub steps: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Seed.
    pub seed: u64,
}

/// The update after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Steps so far.
    pub step: usize,
    /// Trained values.
    pub parameters: usize,
    /// Rank and size.
    pub measures: Measures,
    /// $\lVert \Delta W - D \rVert_F / \lVert D \rVert_F$.
    pub error: f64,
    /// $\lVert \Delta W \rVert_F / \lVert W_0 \rVert_F$.
    pub relative: f64,
    /// Intruders among the first eight directions of $W_0 + \Delta W$.
    pub intruders: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    size: usize,
    distance: f64,
    rate: f64,
    batch: usize,
    default: Length,
    full: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Length {
    budgets: Vec<usize>,
    steps: usize,
    seeds: u64,
}

impl Experiment for Spectra {
    const NAME: &'static str = "spectra";
    const TITLE: &'static str = "Rank and size of an update while it is trained";
    type Parameters = Parameters;
    type Outcome = Vec<Moment>;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        Subject::named(&lab.adapters, &p.adapter)?;
        match p.size == 0 || p.batch == 0 {
            true => Err("`size` or `batch` is 0".into()),
            false => Ok(()),
        }
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        _: &mut Run,
        progress: Progress,
    ) -> Result<Vec<Moment>, Failure> {
        let (mut task, mut batches) = (Task::new(p, lab)?, stream("batches", &lab.device, p.seed));
        let mut optimizer = AdamConfig::new().init();
        let mut moments = Vec::new();
        for step in 1..=p.steps {
            let x = batches.normal([p.batch, p.size], 1.0);
            let y = x.clone().matmul((task.w0.clone() + task.goal.clone()).transpose());
            let apart = task.model.forward(x.autodiff()) - y.autodiff();
            let loss = apart.square().sum().div_scalar(p.batch as f64);
            let gradients = GradientsParams::from_grads(loss.backward(), &task.model);
            task.model = optimizer.step(p.rate, task.model, gradients);
            if step.is_power_of_two() || step == p.steps {
                moments.push(task.moment(step).map_err(|error| format!("step {step}: {error}"))?);
                progress(step, p.steps);
            }
        }
        Ok(moments)
    }
}

/// A layer that is to become another.
struct Task {
    model: Linear,
    w0: Tensor<2>,
    base: Svd,
    goal: Tensor<2>,
}

impl Task {
    fn new(p: &Parameters, lab: &Lab) -> Result<Self, Failure> {
        let (site, w0) = layer(&[p.size, p.size], &lab.device, p.seed)?;
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let sizes = subject.within(p.budget, &site, &w0);
        let (_, sized) = sizes.into_iter().next().ok_or("it has no size")?;
        let base = spectrum::svd(&w0)?;
        let mut goal = spectrum::svd(&stream("goal", &lab.device, p.seed).normal(w0.dims(), 1.0))?;
        goal.s.iter_mut().enumerate().for_each(|(k, s)| *s = 1.0 / (k as f64 + 1.0));
        let scale =
            p.distance * spectrum::frobenius_norm(&base.s) / spectrum::frobenius_norm(&goal.s);
        goal.s.iter_mut().for_each(|s| *s *= scale);
        let mut linear = LinearConfig::new(p.size, p.size).with_bias(false).init(&lab.device);
        linear.weight = Param::from_tensor(w0.clone().transpose());
        let injection =
            Injection::new("spectra", sized.kind.name()).options(sized.options).seed(p.seed);
        let (model, _) = inject(&linear.train(), &lab.adapters, &injection)?;
        let goal = goal.matrix(&lab.device, w0.dtype());
        Ok(Self { model, w0, base, goal })
    }

    fn moment(&self, step: usize) -> Result<Moment, Failure> {
        let slots = slot::collect(&self.model.valid());
        let slot = slots.first().ok_or("the layer has no adapter")?;
        let adapter = &slot.members[0].adapter;
        let update = adapter.update_at(&slot.site, &self.w0, 1.0);
        let measures = Measures::of(&update, slot.site.full_rank())?;
        let tuned = spectrum::svd(&(self.w0.clone() + update.clone()))?;
        let left = Measures::of(&(update - self.goal.clone()), slot.site.full_rank())?;
        let goal = crate::approximate::norm(&self.goal);
        Ok(Moment {
            step,
            parameters: adapter.parameter_count(&slot.site),
            error: left.frobenius / goal,
            relative: measures.frobenius / spectrum::frobenius_norm(&self.base.s),
            intruders: spectrum::intruder_dimensions(&self.base, &tuned, LEADING, &[LIKENESS])[0],
            measures,
        })
    }
}

impl Chapter for Spectra {
    fn plan(lab: &Lab, full: bool) -> Result<Vec<Parameters>, Failure> {
        let text = include_str!("../../../experiments/04-spectra-of-training/experiment.toml");
        let plan: Plan = toml::from_str(text)?;
        let Length { budgets, steps, seeds } = if full { plan.full } else { plan.default };
        let (site, _) = layer(&[plan.size, plan.size], &lab.device, 0)?;
        let mut runs = Vec::new();
        for subject in Subject::all(&lab.adapters, full).into_iter().filter(|it| it.fits(&site)) {
            for &budget in &budgets {
                runs.extend((0..seeds).map(|seed| Parameters {
                    adapter: subject.label.clone(),
                    size: plan.size,
                    budget,
                    distance: plan.distance,
                    rate: plan.rate,
                    steps,
                    batch: plan.batch,
                    seed,
                }));
            }
        }
        Ok(runs)
    }

    fn study(records: &[Record<Self>]) -> Study {
        view::study(records)
    }
}
