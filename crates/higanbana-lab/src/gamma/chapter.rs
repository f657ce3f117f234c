//! The chapter: every adapter with every optimizer, from a plan.

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use higanbana_train::{Rule, optimizers};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Cell, Control, Curve, GammaError, Half, Network, Question, Subject, SubjectError, half,
};
use crate::parallel;

/// What is run; `experiment.toml` of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Steps of the trainings that are rounded alike, and of those that are drawn.
    pub steps: usize,
    /// $\gamma$ of the trainings where every factor is rounded.
    pub gamma: f64,
    /// Their steps: over more the deviation grows as chaos does.
    pub gamma_steps: usize,
    /// Steps of the trainings of the UNet.
    pub unet_steps: usize,
    /// Seed of networks, adapters and batches.
    pub seed: u64,
    /// The adapter that is drawn; in the UNet it meets every optimizer.
    pub adapter: String,
    /// The optimizer whose losses are drawn; in the UNet it meets every adapter.
    pub optimizer: String,
    /// Optimizers whose deviation is drawn.
    pub growth: Vec<String>,
    /// Adapters whose tensors are rounded to half precision.
    pub half: Vec<String>,
    /// By how much tensors are smaller there.
    pub smaller: Vec<f64>,
    /// Whether every adapter meets every optimizer in the UNet, too.
    #[serde(default)]
    pub full: bool,
}

impl Plan {
    /// The committed one.
    pub fn committed() -> Self {
        toml::from_str(include_str!("../../../../experiments/01-gamma-equivalence/experiment.toml"))
            .expect("the committed plan is a plan")
    }
}

/// Results of the chapter.
#[derive(Debug, Clone, Serialize)]
pub struct Chapter {
    /// What was run.
    pub plan: Plan,
    /// Every adapter with every optimizer, in the small network.
    pub cells: Vec<Cell>,
    /// Those in the UNet.
    pub unet: Vec<Cell>,
    /// What could not be run, and why.
    pub failures: Vec<String>,
    /// Rules that cannot be broken, and why: optimizer, control, reason.
    pub not_applicable: Vec<(&'static str, &'static str, String)>,
    /// Losses with $\gamma$, without, and with one rule broken.
    pub losses: Vec<Curve>,
    /// How far those with one rule broken depart.
    pub departures: Vec<Curve>,
    /// Deviation after each step where every factor is rounded, by optimizer.
    pub growth: Vec<Curve>,
    /// Tensors of half precision.
    pub half: Vec<Half>,
}

/// The cells that say most.
#[derive(Debug, Clone, Serialize)]
pub struct Worst {
    /// Cells that are equal bit for bit.
    pub exact: usize,
    /// The largest deviation where both are rounded alike.
    pub dyadic: (f64, String),
    /// The largest where every factor is rounded, in f64.
    pub double: (f64, String),
    /// The largest where every factor is rounded, in f32.
    pub single: (f64, String),
    /// The smallest deviation of each negative control.
    pub controls: Vec<(&'static str, f64, String)>,
}

impl Worst {
    /// Of these cells.
    pub fn of(cells: &[Cell]) -> Self {
        let largest = |value: &dyn Fn(&Cell) -> f64| {
            let cell = cells.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
            cell.map_or((0.0, String::new()), |cell| (value(cell), cell.name()))
        };
        let smallest = |control: Control| {
            let name = control.name();
            let cells = cells.iter().filter_map(|cell| Some((*cell.controls.get(name)?, cell)));
            let (by, cell) = cells.min_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((name, by, cell.name()))
        };
        Self {
            exact: cells.iter().filter(|cell| cell.bit_exact).count(),
            dyadic: largest(&|cell| cell.dyadic[0].max(cell.dyadic[1])),
            double: largest(&|cell| cell.rounded[0]),
            // Where a sign decides nothing is bounded in f32.
            single: largest(&|cell| if cell.bounds[1].is_some() { cell.rounded[1] } else { 0.0 }),
            controls: Control::ALL.into_iter().filter_map(smallest).collect(),
        }
    }
}

/// A cell that is to be filled.
struct Pair<'a> {
    net: Network,
    subject: &'a Subject,
    rule: &'static Rule,
    dyadic: f64,
}

impl Chapter {
    /// Runs the plan for every adapter of `registry` and every optimizer; `progress` hears how many
    /// cells there are, and the name of each that is filled.
    ///
    /// # Errors
    /// When the plan names what there is not, or what it draws cannot be trained.
    pub fn run(
        plan: Plan,
        registry: &Registry,
        device: &Device,
        progress: impl Fn(usize, &str) + Sync,
    ) -> Result<Self, GammaError> {
        let subjects = Subject::all(registry);
        Subject::named(registry, &plan.adapter)?;
        super::rule(&plan.optimizer)?;
        let mut pairs = Vec::new();
        for net in [Network::Unet, Network::Mlp] {
            for subject in &subjects {
                let dyadic = subject.dyadic_gamma(registry)?;
                let rules = optimizers().iter().filter(|rule| plan.has(net, subject, rule));
                pairs.extend(rules.map(|rule| Pair { net, subject, rule, dyadic }));
            }
        }
        let total = pairs.len();
        let results = parallel::all(&pairs, |pair| {
            let cell = plan.cell(pair, registry, device);
            progress(total, &format!("{} × {}", pair.subject.label, pair.rule.name));
            cell
        });
        let (mut cells, mut unet, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (pair, result) in pairs.iter().zip(results) {
            match (pair.net, result) {
                (Network::Mlp, Ok(cell)) => cells.push(cell),
                (Network::Unet, Ok(cell)) => unet.push(cell),
                (_, Err(error)) => failures.push(error.to_string()),
            }
        }
        let reasons = |rule: &'static Rule| {
            let reason =
                |control: Control| Some((rule.name, control.name(), control.applies(rule).err()?));
            Control::ALL.into_iter().filter_map(reason)
        };
        let not_applicable = optimizers().iter().flat_map(reasons).collect();
        let [losses, departures, growth] = plan.drawings(registry, device)?;
        let half = half::table(&plan, registry, device)?;
        Ok(Self { plan, cells, unet, failures, not_applicable, losses, departures, growth, half })
    }

    /// What contradicts the theorem, or a control that does not show: a line each.
    pub fn violations(&self) -> Vec<String> {
        let of = |cells: &[Cell], net: &str| -> Vec<String> {
            let lines = cells.iter().flat_map(Cell::violations);
            lines.map(|line| format!("{net}{line}")).collect()
        };
        [of(&self.cells, ""), of(&self.unet, "unet: ")].concat()
    }
}

impl Plan {
    /// Whether this pair is trained in this network.
    fn has(&self, net: Network, subject: &Subject, rule: &Rule) -> bool {
        let crossing = subject.label == self.adapter || rule.name == self.optimizer;
        net == Network::Mlp || self.full || crossing
    }

    /// Rounded alike in f64, there with controls, and in f32; with rounded factors in both.
    fn cell(
        &self,
        &Pair { net, subject, rule, dyadic }: &Pair,
        registry: &Registry,
        device: &Device,
    ) -> Result<Cell, GammaError> {
        let steps = match net {
            Network::Mlp => [self.steps, self.gamma_steps],
            Network::Unet => [self.unet_steps; 2],
        };
        // What breaks depends on the optimizer.
        let controls = net == Network::Mlp || self.full || subject.label == self.adapter;
        let answers = |gamma, steps, controls| {
            let mut sizes = None;
            let mut answer = |dtype, controls| {
                let seed = self.seed;
                let question = Question::new(subject, rule, gamma);
                let question = Question { net, dtype, steps, seed, controls, ..question };
                question.answer_sized(registry, device, &mut sizes)
            };
            Ok::<[Answer; 2], GammaError>([
                answer(DType::F64, controls)?,
                answer(DType::F32, false)?,
            ])
        };
        Ok(Cell::new(answers(dyadic, steps[0], controls)?, answers(self.gamma, steps[1], false)?))
    }

    fn drawings(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<[Vec<Curve>; 3], GammaError> {
        let subject = Subject::named(registry, &self.adapter)?;
        let question = |optimizer: &str, gamma| {
            let (steps, seed) = (self.steps, self.seed);
            let new = Question::new(&subject, super::rule(optimizer)?, gamma);
            Ok::<_, SubjectError>(Question { steps, seed, ..new })
        };
        let dyadic = subject.dyadic_gamma(registry)?;
        let broken = Question { controls: true, ..question(&self.optimizer, dyadic)? };
        let [losses, departures] = broken.curves(registry, device)?;
        let growth = parallel::all(&self.growth, |optimizer| {
            let values = question(optimizer, self.gamma)?.answer(registry, device)?.growth;
            Ok(Curve { name: optimizer.clone(), values })
        });
        let growth: Result<_, GammaError> = growth.into_iter().collect();
        Ok([losses, departures, growth?])
    }
}
