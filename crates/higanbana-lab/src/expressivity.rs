//! Chapter: how near does each adapter come to an update that it was not made for, for the parameters it spends?
//!
//! A frozen weight $W_0$ of size `[n, n]`, targets $T$ of several [families](targets) with
//! $\lVert T \rVert_F = \lVert W_0 \rVert_F / 4$, and for each budget the largest sizes of each algorithm within it, one for
//! each way to factorise, of which the best counts. Measured is
//! $$\min_\theta \frac{\lVert \Delta W(\theta) - T \rVert_F}{\lVert T \rVert_F},$$
//! in closed form where the algorithm has one, and by [descent](crate::approximate) from several starts. Where
//! both are at hand, their gap is the check of the descent itself.
//!
//! Where a closed form does not fill the budget, a sum of several adapters of one size is tried as well, each the
//! nearest to what the others leave; of Kronecker products that is the best sum of `k` terms (Van Loan,
//! Pitsianis).

mod affine;
mod findings;
pub mod targets;
pub mod trained;
mod view;

use burn::tensor::Tensor;
use higanbana_core::{DynAdapter, Kind, Site, spectrum::frobenius};
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use crate::{
    approximate::{
        CUT_OFF, CUT_OFF_FLAG, CUT_OFF_RANKS, MARGIN, SETTLED, Search, closed_form, optimised,
    },
    chapter::{Chapter, Record},
    experiment::{Experiment, Failure, Lab, Progress},
    measures::Measures,
    numbers::Numbers,
    study::Study,
    subject::{Subject, layer},
};

/// The experiment.
#[derive(Debug)]
pub struct Expressivity;

/// One algorithm and one family of targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm, with a set of options behind a colon.
    pub adapter: String,
    /// Name of the family.
    pub family: String,
    /// $n$.
    pub size: usize,
    /// Numbers of parameters.
    pub budgets: Vec<usize>,
    /// Number of targets.
    pub seeds: u64,
    /// Starts of each descent.
    pub starts: usize,
    /// Steps from each.
    pub steps: usize,
}

/// The best approximation of one target within one budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The budget.
    pub budget: usize,
    /// Seed of the target.
    pub seed: u64,
    /// Parameters that are spent, above the budget where the smallest size is.
    pub parameters: usize,
    /// What size that is, in words.
    pub size: String,
    /// Number of adapters that are added up.
    pub terms: usize,
    /// The error, the smaller of the two.
    pub error: f64,
    /// That of the closed form, where there is one.
    pub closed: Option<f64>,
    /// That of the descent, where it was made.
    pub descent: Option<f64>,
    /// How far the descent ends above the closed form, before either is rounded; negative below it.
    pub gap: Option<f64>,
    /// Whether the update is an affine function of the parameters: the algorithm is a fixed subspace itself.
    pub linear: bool,
    /// Whether the error is that of a descent which was cut off, and so an upper bound.
    pub cut_off: bool,
    /// Numerical rank of the approximation.
    pub rank: usize,
    /// Its stable rank.
    pub stable_rank: f64,
}

/// What the plan of the experiment says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    size: usize,
    default: Effort,
    full: Effort,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Effort {
    budgets: Vec<usize>,
    seeds: u64,
    starts: usize,
    steps: usize,
}

impl Experiment for Expressivity {
    const NAME: &'static str = "expressivity";
    const TITLE: &'static str = "The best approximation of an update within a budget";
    type Parameters = Parameters;
    type Outcome = Vec<Cell>;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        Subject::named(&lab.adapters, &p.adapter)?;
        targets::family(&p.family)?;
        match p {
            Parameters { size: 0, .. } => Err("`size` is 0".into()),
            Parameters { seeds: 0, .. } => Err("`seeds` is 0: there is no target".into()),
            Parameters { starts: 0, .. } => Err("`starts` is 0: nothing is searched for".into()),
            Parameters { budgets, .. } if budgets.is_empty() => Err("`budgets` is empty".into()),
            _ => Ok(()),
        }
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        _: &mut Run,
        progress: Progress,
    ) -> Result<Vec<Cell>, Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let family = targets::family(&p.family)?;
        let mut cells = Vec::new();
        for seed in 0..p.seeds {
            let (site, w0) = layer(&[p.size, p.size], &lab.device, seed)?;
            let target = family.target(&w0, &lab.device, seed)?;
            let task = Task { kind: subject.kind, site: &site, w0: &w0, target: &target };
            let search = Search { starts: p.starts, steps: p.steps, seed };
            for &budget in &p.budgets {
                let (mut alone, mut sums) = (Vec::new(), Vec::new());
                for (_, sized) in subject.within(budget, &site, &w0) {
                    let fresh = sized.build(&site, &w0, seed).ok_or("it was built before")?;
                    let named = |cell| Cell { budget, seed, size: sized.size(), ..cell };
                    let cell = task.cell(&fresh, search, seed == 0)?;
                    sums.extend(task.sum(&fresh, budget, cell.closed)?.map(named));
                    alone.push(named(cell));
                }
                cells.extend([alone, sums].into_iter().filter_map(best));
            }
            progress(seed as usize + 1, p.seeds as usize);
        }
        Ok(cells)
    }
}

/// The first of those that come as near as any.
fn best(cells: Vec<Cell>) -> Option<Cell> {
    let least = cells.iter().map(|cell| cell.error).min_by(f64::total_cmp)?;
    cells.into_iter().find(|cell| cell.error <= least * (1.0 + MARGIN) + 1e-12)
}

/// A target at a layer.
struct Task<'a> {
    kind: &'a Kind,
    site: &'a Site,
    w0: &'a Tensor<2>,
    target: &'a Tensor<2>,
}

impl Task<'_> {
    /// The best of closed form and descent. Where there is a closed form, the descent is a check, and made where
    /// `check` says so.
    fn cell(&self, fresh: &DynAdapter, search: Search, check: bool) -> Result<Cell, Failure> {
        let Self { kind, site, w0, target } = *self;
        let closed = closed_form(fresh, site, w0, target)?;
        let descends = check || closed.is_none();
        let descent = descends.then(|| optimised(fresh, kind, site, w0, target, search));
        let errors = [&closed, &descent].map(|found| found.as_ref().map(|found| found.error));
        // A descent that is nearer by rounding is no nearer.
        let best = match (closed, descent) {
            (Some(closed), Some(descent)) if descent.error < closed.error * (1.0 - MARGIN) => {
                descent
            }
            (Some(found), _) | (None, Some(found)) => found,
            (None, None) => return Err("neither was tried".into()),
        };
        if !best.error.is_finite() {
            return Err(format!("the descent left what is finite ({} steps)", search.steps).into());
        }
        let update = best.adapter.update_at(site, w0, 1.0);
        let measures = Measures::of(&update, site.full_rank())?;
        Ok(Cell {
            budget: 0,
            seed: 0,
            parameters: fresh.parameter_count(site),
            size: String::new(),
            terms: 1,
            error: best.error,
            closed: errors[0],
            descent: errors[1],
            gap: errors[1].zip(errors[0]).map(|(descent, closed)| descent - closed),
            linear: affine::is_affine(fresh, site, w0, search.seed),
            cut_off: !best.settled,
            rank: measures.rank,
            stable_rank: measures.stable_rank,
        })
    }

    /// The greedy sum of closed forms that fills the budget, where one alone leaves room for a second that helps.
    fn sum(
        &self,
        fresh: &DynAdapter,
        budget: usize,
        alone: Option<f64>,
    ) -> Result<Option<Cell>, Failure> {
        let Self { site, w0, target, .. } = *self;
        let parameters = fresh.parameter_count(site);
        let (Some(alone), terms) = (alone, budget / parameters) else { return Ok(None) };
        if terms < 2 || alone < 1e-12 {
            return Ok(None);
        }
        let mut left = target.clone();
        for _ in 0..terms {
            match closed_form(fresh, site, w0, &left)? {
                None => return Ok(None),
                Some(found) => left = left - found.adapter.update_at(site, w0, 1.0),
            }
        }
        let error = frobenius(&left) / frobenius(target);
        if error > alone * (1.0 - 1e-6) {
            return Ok(None);
        }
        let measures = Measures::of(&(target.clone() - left), site.full_rank())?;
        Ok(Some(Cell {
            budget: 0,
            seed: 0,
            parameters: terms * parameters,
            size: String::new(),
            terms,
            error,
            closed: Some(error),
            descent: None,
            gap: None,
            linear: false,
            cut_off: false,
            rank: measures.rank,
            stable_rank: measures.stable_rank,
        }))
    }
}

/// Of a search.
const SEARCH: &[&str] = &["error", "descent", "stable_rank"];

impl Chapter for Expressivity {
    const SIDE_BY_SIDE: bool = true;
    const NUMBERS: &'static [Numbers] = &[
        CUT_OFF_FLAG,
        CUT_OFF_RANKS,
        Numbers { keys: SEARCH, ..CUT_OFF },
        Numbers { keys: SEARCH, ..SETTLED },
        Numbers { keys: &["gap"], digits: 2, ..SETTLED },
    ];

    fn plan(lab: &Lab, full: bool) -> Result<Vec<Parameters>, Failure> {
        let text = include_str!("../../../experiments/03-expressivity/experiment.toml");
        let plan: Plan = toml::from_str(text)?;
        let Effort { budgets, seeds, starts, steps } = if full { plan.full } else { plan.default };
        let (site, _) = layer(&[plan.size, plan.size], &lab.device, 0)?;
        let subjects = Subject::all(&lab.adapters, full).into_iter().filter(|it| it.fits(&site));
        let families = || targets::FAMILIES.iter();
        let run = |subject: Subject| {
            families()
                .map(move |family| (subject.label.clone(), family.name.to_string()))
                .collect::<Vec<_>>()
        };
        let runs = subjects.flat_map(run).map(|(adapter, family)| Parameters {
            adapter,
            family,
            size: plan.size,
            budgets: budgets.clone(),
            seeds,
            starts,
            steps,
        });
        Ok(runs.collect())
    }

    fn study(records: &[Record<Self>]) -> Study {
        Study { findings: findings::findings(records), ..view::study(records) }
    }
}
