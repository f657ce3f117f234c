//! Chapter: how large are the first gradient and the first step, and does that depend on the rank?
//!
//! A new adapter on a weight whose gradient $G$ is fixed and of norm 1. Measured are the norm of its own gradient,
//! $\lVert J^\top \operatorname{vec} G \rVert$, and how far the update moves in one step of SGD and of sign descent (which
//! Adam's first step is), per unit of learning rate:
//! $$\lVert \Delta W(\theta_0 - \eta d) \rVert_F / \eta, \qquad \eta = 10^{-4}.$$
//! All three are measured of the whole, and of each trained tensor with the others held: a tensor that does not depend on
//! the rank, such as DoRA's magnitude, otherwise hides one that does. Over the rank $r$ they go as $r^p$, as long as the
//! same tensors are trained, and $p = 0$ is [stable](power). For $\Delta W = s B A$ with $B = 0$ and random $A$, and a gradient
//! without structure, the closed forms are $s r^{1/2}$, $s^2 r^{1/2}$ and $s r^{1/2}$ while $r$ is small: for $s \propto r^{-1/2}$
//! (rsLoRA, arXiv:2312.03732) the gradient and the step of signs are stable, and the step of SGD is not.

mod findings;
pub mod power;
mod view;

use std::collections::BTreeMap;

use burn::{module::Module, tensor::Tensor};
use higanbana_core::{DynAdapter, Site, spectrum::frobenius, trained};
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use crate::{
    chapter::{Chapter, Record},
    experiment::{Experiment, Failure, Lab, Progress},
    study::Study,
    subject::{Subject, layer, stream},
};

/// $\eta$.
const RATE: f64 = 1e-4;

/// The experiment.
#[derive(Debug)]
pub struct Initialisation;

/// One algorithm with one rule for its scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm, with a set of options behind a colon.
    pub adapter: String,
    /// How the scale follows the rank.
    pub scale: Scale,
    /// Rows and columns of the weight.
    pub size: usize,
    /// Ranks.
    pub ranks: Vec<usize>,
    /// Number of adapters at each.
    pub seeds: u64,
}

/// How the scale follows the rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// $\alpha/r$ with a fixed $\alpha$.
    AlphaOverRank,
    /// $\alpha/\sqrt r$ with a fixed $\alpha$.
    AlphaOverRoot,
    /// The algorithm's own: it has no $\alpha$.
    Own,
}

impl Scale {
    /// In a legend.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlphaOverRank => "α/r",
            Self::AlphaOverRoot => "α/√r",
            Self::Own => "own",
        }
    }
}

/// The first step of one adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct First {
    /// Rank.
    pub rank: usize,
    /// Seed.
    pub seed: u64,
    /// Trained values.
    pub parameters: usize,
    /// With all tensors moved.
    #[serde(flatten)]
    pub whole: Step,
    /// With each of them moved alone, by its name.
    pub tensors: BTreeMap<String, Step>,
}

/// A step of some trained tensors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Norm of the gradient.
    pub gradient: f64,
    /// How far the update moves by SGD, per unit of learning rate.
    pub sgd: f64,
    /// The same by the signs of the gradient.
    pub sign: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    default: Grid,
    full: Grid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    size: usize,
    ranks: Vec<usize>,
    seeds: u64,
}

impl Experiment for Initialisation {
    const NAME: &'static str = "initialisation";
    const TITLE: &'static str = "Gradient and step at the start, by rank";
    type Parameters = Parameters;
    type Outcome = Vec<First>;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        match p.scale {
            Scale::AlphaOverRoot if !subject.has("rs_lora") => {
                Err(format!("{} has no scale of α/√r", p.adapter).into())
            }
            _ => Ok(()),
        }
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        _: &mut Run,
        progress: Progress,
    ) -> Result<Vec<First>, Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let mut steps: Vec<First> = Vec::new();
        for (index, &rank) in p.ranks.iter().enumerate() {
            for seed in 0..p.seeds {
                let (site, w0) = layer(&[p.size, p.size], &lab.device, seed)?;
                let mut sized = subject.of_rank(rank);
                if p.scale != Scale::Own {
                    sized = sized.with("alpha", 1.0);
                }
                if p.scale == Scale::AlphaOverRoot {
                    sized = sized.with("rs_lora", true);
                }
                let Some(fresh) = sized.build(&site, &w0, seed) else { continue };
                let parameters = fresh.parameter_count(&site);
                // Beyond some rank an algorithm may do without one, or cut it: that is no rank more.
                let known = |step: &First| step.rank != rank && step.parameters == parameters;
                if !steps.iter().any(known) {
                    let (whole, tensors) = first(&fresh, &site, &w0, seed);
                    steps.push(First { rank, seed, parameters, whole, tensors });
                }
            }
            progress(index + 1, p.ranks.len());
        }
        Ok(steps)
    }
}

/// The first step against a gradient of norm 1: of all trained tensors, and of each alone.
fn first(
    fresh: &DynAdapter,
    site: &Site,
    w0: &Tensor<2>,
    seed: u64,
) -> (Step, BTreeMap<String, Step>) {
    let towards = stream("gradient", &w0.device(), seed).normal([site.out(), site.cols()], 1.0);
    let towards = towards.clone().div_scalar(frobenius(&towards));
    let adapter = fresh.clone().train();
    let update = adapter.update_at(site, &w0.clone().autodiff(), 1.0);
    let grads = (update * towards.autodiff()).sum().backward();
    let gradients = trained::gradients(&adapter, &grads);
    let start = trained::values(fresh);
    let step = |moves: &dyn Fn(&str) -> bool| {
        let own = |(name, gradient): &(String, Vec<f64>)| match moves(name) {
            true => gradient.clone(),
            false => vec![0.0; gradient.len()],
        };
        let gradient: Vec<f64> = gradients.iter().flat_map(own).collect();
        let moved = |direction: fn(f64) -> f64| {
            let theta: Vec<f64> =
                start.iter().zip(&gradient).map(|(x, g)| x - RATE * direction(*g)).collect();
            frobenius(&trained::with_values(fresh.clone(), &theta).update_at(site, w0, 1.0)) / RATE
        };
        Step {
            gradient: gradient.iter().map(|g| g * g).sum::<f64>().sqrt(),
            sgd: moved(|g| g),
            sign: moved(|g| if g == 0.0 { 0.0 } else { g.signum() }),
        }
    };
    let alone = |(name, _): &(String, Vec<f64>)| (name.clone(), step(&|moved| moved == name));
    (step(&|_| true), gradients.iter().map(alone).collect())
}

impl Chapter for Initialisation {
    const SIDE_BY_SIDE: bool = true;

    fn plan(lab: &Lab, full: bool) -> Result<Vec<Parameters>, Failure> {
        let text = include_str!("../../../experiments/05-initialisation/experiment.toml");
        let plan: Plan = toml::from_str(text)?;
        let Grid { size, ranks, seeds } = if full { plan.full } else { plan.default };
        let (site, _) = layer(&[size, size], &lab.device, 0)?;
        let mut runs = Vec::new();
        let subjects = Subject::all(&lab.adapters, false).into_iter().filter(|it| it.fits(&site));
        for subject in subjects {
            // What has no rank is a point of its own.
            let ranks = if subject.has("rank") { ranks.clone() } else { vec![1] };
            let scales = match (subject.has("alpha"), subject.has("rs_lora")) {
                (true, true) => &[Scale::AlphaOverRank, Scale::AlphaOverRoot][..],
                (true, false) => &[Scale::AlphaOverRank],
                _ => &[Scale::Own],
            };
            runs.extend(scales.iter().map(|&scale| Parameters {
                adapter: subject.label.clone(),
                scale,
                size,
                ranks: ranks.clone(),
                seeds,
            }));
        }
        Ok(runs)
    }

    fn study(records: &[Record<Self>]) -> Study {
        view::study(records)
    }
}
