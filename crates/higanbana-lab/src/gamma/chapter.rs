//! The chapter: every adapter with every optimizer, from a plan.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use higanbana_train::{Rule, optimizers};
use serde::{Deserialize, Serialize};

use super::{Answer, Control, Curve, GammaError, Question, Start, Subject, SubjectError, grid};

/// What is run; `experiment.toml` of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Steps of the trainings without rounding, and of those that are drawn.
    pub steps: usize,
    /// $\gamma$ of the trainings with rounding.
    pub gamma: f64,
    /// Their steps: over more the deviation grows as chaos does.
    pub gamma_steps: usize,
    /// Seed of networks, adapters and batches.
    pub seed: u64,
    /// The adapter that is drawn.
    pub drawn: String,
    /// Optimizer whose losses are drawn.
    pub losses: String,
    /// Optimizers whose deviation is drawn.
    pub growth: Vec<String>,
}

impl Plan {
    /// The committed one.
    pub fn committed() -> Self {
        toml::from_str(include_str!("../../../../experiments/01-gamma-equivalence/experiment.toml"))
            .expect("the committed plan is a plan")
    }
}

/// One adapter with one optimizer.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of the optimizer.
    pub optimizer: &'static str,
    /// Degree of the map that $\gamma$ multiplies.
    pub degree: u32,
    /// $c$.
    pub c: i32,
    /// $\gamma = 4^{-m}$: $a = 1/4$, without rounding.
    pub dyadic_gamma: f64,
    /// Deviation there, in f64 and in f32.
    pub dyadic: [f64; 2],
    /// Whether both are equal bit for bit.
    pub bit_exact: bool,
    /// Deviation with rounding, in f64 and in f32.
    pub rounded: [f64; 2],
    /// Bounds of that.
    pub bounds: [Option<f64>; 2],
    /// Deviation with one rule broken.
    pub controls: BTreeMap<&'static str, f64>,
    /// Share of the steps on which gradients were clipped.
    pub clipped: f64,
}

/// Results of the chapter.
#[derive(Debug, Clone, Serialize)]
pub struct Chapter {
    /// What was run.
    pub plan: Plan,
    /// Every adapter with every optimizer.
    pub cells: Vec<Cell>,
    /// What could not be run, and why.
    pub failures: Vec<String>,
    /// Rules that cannot be broken, and why: optimizer, control, reason.
    pub not_applicable: Vec<(&'static str, &'static str, String)>,
    /// Losses with $\gamma$, without, and with one rule broken.
    pub losses: Vec<Curve>,
    /// How far those with one rule broken depart.
    pub departures: Vec<Curve>,
    /// Deviation after each step with rounding, by optimizer.
    pub growth: Vec<Curve>,
}

/// The cells that say most.
#[derive(Debug, Clone, Serialize)]
pub struct Worst {
    /// Cells that are equal bit for bit.
    pub exact: usize,
    /// The largest deviation without rounding.
    pub dyadic: (f64, String),
    /// The largest with rounding in f64.
    pub double: (f64, String),
    /// The largest with rounding in f32.
    pub single: (f64, String),
    /// The smallest deviation of each negative control.
    pub controls: Vec<(&'static str, f64, String)>,
}

impl Chapter {
    /// Runs the plan for every adapter of `registry` and every optimizer; `progress` hears how many
    /// questions there are, and of each that is answered.
    ///
    /// # Errors
    /// When the plan names what there is not, or what it draws cannot be trained.
    pub fn run(
        plan: Plan,
        registry: &Registry,
        device: &Device,
        progress: impl Fn(usize, &Question) + Sync,
    ) -> Result<Self, GammaError> {
        let subjects = Subject::all(registry);
        let gammas: Vec<_> = subjects
            .iter()
            .map(|subject| subject.dyadic_gamma(registry))
            .collect::<Result<_, SubjectError>>()?;
        let mut questions = Vec::new();
        for (subject, dyadic) in subjects.iter().zip(gammas) {
            for rule in optimizers() {
                questions.extend(plan.questions(subject, rule, dyadic));
            }
        }
        let total = questions.len();
        let answers = grid::run(&questions, registry, device, |question| progress(total, question));
        let (mut cells, mut failures) = (Vec::new(), Vec::new());
        let mut answers = answers.into_iter();
        while let Some(first) = answers.next() {
            let rest = answers.by_ref().take(3);
            let four: Result<Vec<Answer>, _> = std::iter::once(first).chain(rest).collect();
            match four.map(<[Answer; 4]>::try_from) {
                Ok(Ok(four)) => cells.push(Cell::new(four)),
                Ok(Err(_)) => unreachable!("each cell has four questions"),
                Err(error) => failures.push(error.to_string()),
            }
        }
        let reasons = |rule: &'static Rule| {
            let reason =
                |control: Control| Some((rule.name, control.name(), control.applies(rule).err()?));
            Control::ALL.into_iter().filter_map(reason)
        };
        let not_applicable = optimizers().iter().flat_map(reasons).collect();
        let [losses, departures, growth] = plan.drawings(registry, device)?;
        Ok(Self { plan, cells, failures, not_applicable, losses, departures, growth })
    }

    /// The cells that say most.
    pub fn worst(&self) -> Worst {
        let largest = |value: &dyn Fn(&Cell) -> f64| {
            let cell = self.cells.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
            cell.map_or((0.0, String::new()), |cell| (value(cell), cell.name()))
        };
        let smallest = |control: Control| {
            let name = control.name();
            let cells =
                self.cells.iter().filter_map(|cell| Some((*cell.controls.get(name)?, cell)));
            let (by, cell) = cells.min_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((name, by, cell.name()))
        };
        Worst {
            exact: self.cells.iter().filter(|cell| cell.bit_exact).count(),
            dyadic: largest(&|cell| cell.dyadic[0].max(cell.dyadic[1])),
            double: largest(&|cell| cell.rounded[0]),
            // Where a sign decides nothing is bounded in f32.
            single: largest(&|cell| if cell.bounds[1].is_some() { cell.rounded[1] } else { 0.0 }),
            controls: Control::ALL.into_iter().filter_map(smallest).collect(),
        }
    }

    /// What contradicts the theorem, or a control that does not show: a line each.
    pub fn violations(&self) -> Vec<String> {
        self.cells.iter().flat_map(Cell::violations).collect()
    }
}

impl Plan {
    /// Without rounding in f64 with controls, and in f32; with rounding in both.
    fn questions<'s>(
        &self,
        subject: &'s Subject,
        rule: &'static Rule,
        dyadic: f64,
    ) -> [Question<'s>; 4] {
        let question = |gamma, dtype, steps, controls| Question {
            subject,
            rule,
            gamma,
            dtype,
            steps,
            seed: self.seed,
            start: Start::Noise,
            controls,
        };
        [
            question(dyadic, DType::F64, self.steps, true),
            question(dyadic, DType::F32, self.steps, false),
            question(self.gamma, DType::F64, self.gamma_steps, false),
            question(self.gamma, DType::F32, self.gamma_steps, false),
        ]
    }

    fn drawings(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<[Vec<Curve>; 3], GammaError> {
        let subject = Subject::named(registry, &self.drawn)?;
        let question = |optimizer: &str, gamma| {
            let rule = super::rule(optimizer)?;
            let (dtype, steps, seed) = (DType::F64, self.steps, self.seed);
            Ok::<_, SubjectError>(Question {
                subject: &subject,
                rule,
                gamma,
                dtype,
                steps,
                seed,
                start: Start::Noise,
                controls: false,
            })
        };
        let dyadic = subject.dyadic_gamma(registry)?;
        let [losses, departures] = question(&self.losses, dyadic)?.curves(registry, device)?;
        let growth = self.growth.iter().map(|optimizer| {
            let values = question(optimizer, self.gamma)?.answer(registry, device)?.growth;
            Ok(Curve { name: optimizer.clone(), values })
        });
        Ok([losses, departures, growth.collect::<Result<_, GammaError>>()?])
    }
}

impl Cell {
    fn new([double, single, rounded_double, rounded_single]: [Answer; 4]) -> Self {
        Self {
            adapter: double.adapter,
            optimizer: double.optimizer,
            degree: double.degree,
            c: double.c,
            dyadic_gamma: double.gamma,
            dyadic: [double.deviation, single.deviation],
            bit_exact: double.bit_exact && single.bit_exact,
            rounded: [rounded_double.deviation, rounded_single.deviation],
            bounds: [rounded_double.bound, rounded_single.bound],
            controls: double.controls,
            clipped: double.clipped,
        }
    }

    /// Adapter and optimizer.
    pub fn name(&self) -> String {
        format!("{} × {}", self.adapter, self.optimizer)
    }

    fn violations(&self) -> Vec<String> {
        let name = self.name();
        let mut violations = Vec::new();
        if !self.bit_exact {
            let [double, single] = self.dyadic;
            violations.push(format!(
                "{name}: not equal bit for bit at γ = {}: {double:.1e} in f64, {single:.1e} in f32",
                self.dyadic_gamma
            ));
        }
        for ((deviation, bound), dtype) in self.rounded.iter().zip(self.bounds).zip(["f64", "f32"])
        {
            if let Some(bound) = bound.filter(|bound| deviation > bound) {
                violations
                    .push(format!("{name}: {deviation:.1e} in {dtype}, more than {bound:.0e}"));
            }
        }
        for (control, deviation) in &self.controls {
            if *deviation <= super::THRESHOLD {
                violations.push(format!("{name}: {control} shows only {deviation:.1e}"));
            }
        }
        violations
    }
}
