//! Chapter: which rank does each adapter attain, for how many parameters, and how free is it?
//!
//! Random factors are in general position: their update has the largest rank that the form allows, to be held
//! against the closed bound (Law 02). On small layers the factors are also fitted to a random update, as training
//! would, and the degrees of freedom are [counted](higanbana_core::freedom()).

mod findings;
mod view;

use burn::tensor::Tensor;
use higanbana_core::{DynAdapter, Freedom, Kind, Site, freedom, spectrum, trained};
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use crate::{
    approximate::{CUT_OFF, CUT_OFF_FLAG, CUT_OFF_RANKS, SETTLED, Search, closed_form, optimised},
    chapter::{Chapter, Record},
    experiment::{Experiment, Failure, Lab, Progress},
    measures::Measures,
    numbers::Numbers,
    study::Study,
    subject::{Subject, layer, stream},
};

/// Entries of a weight up to which everything is measured, fits and degrees of freedom too.
const SMALL: usize = 1024;

/// Singular values of a spectrum that are kept, evenly spaced.
const KEPT: usize = 40;

/// Random starts of a fit that has no closed form, and steps from each.
const FIT_STARTS: usize = 2;
const FIT_STEPS: usize = 1000;

/// The experiment.
#[derive(Debug)]
pub struct Rank;

/// One algorithm on one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm, with a set of options behind a colon.
    pub adapter: String,
    /// Shape of the weight, as checkpoints have it.
    pub shape: Vec<usize>,
    /// Ranks, of algorithms that have one.
    pub ranks: Vec<usize>,
    /// The option `factor`, of algorithms that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<i64>,
    /// Seed of weight and factors.
    pub seed: u64,
}

/// An adapter of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// The options that set it, in words.
    pub size: String,
    /// Trained values.
    pub parameters: usize,
    /// The bound.
    pub bound: usize,
    /// Of the update with random factors.
    pub random: Measures,
    /// Its spectrum: shares of the way through it, and values in units of the largest.
    pub spectrum: Vec<(f64, f64)>,
    /// What is measured on small layers only.
    pub small: Option<Small>,
}

/// What is measured on small layers only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// Degrees of freedom of the update.
    pub degrees: usize,
    /// Parameters beyond them.
    pub gauge: usize,
    /// Of the nearest update to a random one.
    pub fitted: Measures,
    /// Its distance from that, $\lVert \Delta W - T \rVert / \lVert T \rVert$.
    pub error: f64,
    /// Whether the search for it was cut off.
    pub cut_off: bool,
    /// Largest change of a singular value of the base weight by the random update, in units of its largest.
    pub shift: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    small: Layers,
    default: Layers,
    full: Layers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layers {
    shapes: Vec<Vec<usize>>,
    ranks: Vec<usize>,
    factors: Vec<i64>,
}

impl Experiment for Rank {
    const NAME: &'static str = "rank";
    const TITLE: &'static str = "Attained rank, its bound, and degrees of freedom";
    type Parameters = Parameters;
    type Outcome = Vec<Size>;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        let (site, _) = layer(&p.shape, &lab.device, 0)?;
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        match (subject.fits(&site), p.factor) {
            (false, _) => {
                Err(format!("{} does not adapt a {}", p.adapter, site.kind.name()).into())
            }
            (_, Some(_)) if !subject.has("factor") => {
                Err(format!("{} has no option `factor`", p.adapter).into())
            }
            _ if p.ranks.is_empty() => Err("`ranks` is empty".into()),
            _ => Ok(()),
        }
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        _: &mut Run,
        progress: Progress,
    ) -> Result<Vec<Size>, Failure> {
        let (site, w0) = layer(&p.shape, &lab.device, p.seed)?;
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let ranks = if subject.has("rank") { &p.ranks[..] } else { &p.ranks[..1] };
        let mut sizes: Vec<Size> = Vec::new();
        for (index, &rank) in ranks.iter().enumerate() {
            let sized = subject.of_rank(rank);
            let sized = match p.factor {
                None => sized,
                Some(factor) => sized.with("factor", factor),
            };
            // What cannot be built on this layer has no rank there.
            let Some(fresh) = sized.build(&site, &w0, p.seed) else { continue };
            let size = measure(&fresh, subject.kind, &site, &w0, p.seed)?;
            if sizes.last().is_none_or(|last| last.parameters != size.parameters) {
                sizes.push(Size { size: sized.size(), ..size });
            }
            progress(index + 1, ranks.len());
        }
        Ok(sizes)
    }
}

fn measure(
    fresh: &DynAdapter,
    kind: &Kind,
    site: &Site,
    w0: &Tensor<2>,
    seed: u64,
) -> Result<Size, Failure> {
    let random = trained::shaken(fresh.clone(), 0.5, seed);
    let update = random.update_at(site, w0, 1.0);
    let bound = random.rank_bound(site);
    let s = spectrum::bounded_singular_values(&update, bound)?;
    let kept = |k: usize| {
        let index = k * (s.len() - 1) / (KEPT - 1).max(1);
        (index as f64 / s.len() as f64, s[index] / s[0])
    };
    let small = site.out() * site.cols() <= SMALL;
    Ok(Size {
        size: String::new(),
        parameters: random.parameter_count(site),
        bound,
        random: Measures::of_spectrum(&s, update.dims(), update.dtype()),
        spectrum: if s[0] > 0.0 { (0..KEPT).map(kept).collect() } else { Vec::new() },
        small: small.then(|| Small::of(fresh, &random, kind, site, w0, seed)).transpose()?,
    })
}

impl Small {
    fn of(
        fresh: &DynAdapter,
        random: &DynAdapter,
        kind: &Kind,
        site: &Site,
        w0: &Tensor<2>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let update = random.update_at(site, w0, 1.0);
        let Freedom { parameters, degrees } = freedom(random, site, w0, seed)?;
        let target = stream("random update", &w0.device(), seed).normal(update.dims(), 0.1);
        let search = Search { starts: FIT_STARTS, steps: FIT_STEPS, seed };
        let found = match closed_form(fresh, site, w0, &target)? {
            Some(found) => found,
            None => optimised(fresh, kind, site, w0, &target, search),
        };
        let fitted = found.adapter.update_at(site, w0, 1.0);
        let before = spectrum::singular_values(w0)?;
        let after = spectrum::singular_values(&(w0.clone() + update))?;
        let change = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        Ok(Self {
            degrees,
            gauge: parameters - degrees,
            fitted: Measures::of(&fitted, site.full_rank())?,
            error: found.error,
            cut_off: !found.settled,
            shift: change / before[0],
        })
    }
}

/// Of a fit.
const FIT: &[&str] = &["fitted", "error"];

impl Chapter for Rank {
    const SIDE_BY_SIDE: bool = true;
    const NUMBERS: &'static [Numbers] = &[
        CUT_OFF_FLAG,
        CUT_OFF_RANKS,
        Numbers { keys: FIT, ..CUT_OFF },
        Numbers { keys: FIT, ..SETTLED },
    ];

    fn plan(lab: &Lab, full: bool) -> Result<Vec<Parameters>, Failure> {
        let text = include_str!("../../../experiments/02-rank/experiment.toml");
        let plan: Plan = toml::from_str(text)?;
        let layers = if full { &plan.full } else { &plan.default };
        let mut runs = Vec::new();
        for (layers, sets) in [(&plan.small, true), (layers, full)] {
            for shape in &layers.shapes {
                let (site, _) = layer(shape, &lab.device, 0)?;
                let subjects = Subject::all(&lab.adapters, sets);
                for subject in subjects.into_iter().filter(|it| it.fits(&site)) {
                    let factors = match subject.has("factor") {
                        true => layers.factors.iter().copied().map(Some).collect(),
                        false => vec![None],
                    };
                    runs.extend(factors.into_iter().map(|factor| Parameters {
                        adapter: subject.label.clone(),
                        shape: shape.clone(),
                        ranks: layers.ranks.clone(),
                        factor,
                        seed: 0,
                    }));
                }
            }
        }
        Ok(runs)
    }

    fn study(records: &[Record<Self>]) -> Study {
        Study { findings: findings::findings(records), ..view::study(records) }
    }
}
