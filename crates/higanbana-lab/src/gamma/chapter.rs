//! The chapter: every adapter with every optimizer, from a plan.

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use higanbana_train::Rule;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Cell, Control, Curve, GammaError, Half, Network, Question, Subject, SubjectError, half,
};
use crate::{experiment::Lab, parallel};

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
    /// The optimizers.
    #[serde(skip)]
    pub rules: Vec<&'static Rule>,
    /// Every adapter with every optimizer, in the small network.
    pub cells: Vec<Cell>,
    /// Those in the UNet.
    pub unet: Vec<Cell>,
    /// Cells of which the theorem says nothing, and why.
    pub outside: Vec<String>,
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
    /// The furthest that scaled hyperparameters are off.
    pub rounding: f64,
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
            rounding: cells.iter().map(|cell| cell.rounding).fold(0.0, f64::max),
            controls: Control::ALL.into_iter().filter_map(smallest).collect(),
        }
    }
}

/// A cell that is to be filled.
pub(super) struct Pair<'a> {
    pub net: Network,
    pub subject: &'a Subject,
    pub rule: &'static Rule,
}

impl Chapter {
    /// Runs the plan for every adapter and every optimizer of a lab; `progress` hears how many cells there
    /// are, and the name of each that is filled.
    ///
    /// # Errors
    /// When the plan names what there is not, or what it draws cannot be trained.
    pub fn run(
        plan: Plan,
        lab: &Lab,
        progress: impl Fn(usize, &str) + Sync,
    ) -> Result<Self, GammaError> {
        let (registry, device) = (&lab.adapters, &lab.device);
        let subjects = Subject::all(registry);
        let (mut rules, mut outside) = (Vec::new(), Vec::new());
        for known in lab.optimizers.iter() {
            match super::rule_of(&known) {
                Ok(rule) => rules.push(rule),
                Err(reason) => outside.push(format!("{}: {reason}", known.name())),
            }
        }
        Subject::named(registry, &plan.adapter)?;
        super::rule(&plan.optimizer)?;
        let mut pairs = Vec::new();
        for net in [Network::Unet, Network::Mlp] {
            for subject in &subjects {
                let rules = rules.iter().filter(|rule| plan.has(net, subject, rule));
                pairs.extend(rules.map(|&rule| Pair { net, subject, rule }));
            }
        }
        let total = pairs.len();
        let results = parallel::all(&pairs, |pair| {
            let cell = pair.subject.guarded(pair.rule, || plan.cell(pair, registry, device));
            progress(total, &format!("{} × {}", pair.subject.label, pair.rule.name));
            cell
        });
        let (mut cells, mut unet, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (pair, result) in pairs.iter().zip(results) {
            match (pair.net, result) {
                (Network::Mlp, Ok(cell)) => cells.push(cell),
                (Network::Unet, Ok(cell)) => unet.push(cell),
                (_, Err(error @ GammaError::Outside { .. })) => outside.push(error.to_string()),
                (_, Err(error)) => failures.push(error.to_string()),
            }
        }
        let reasons = |rule: &'static Rule| {
            let reason =
                |control: Control| Some((rule.name, control.name(), control.applies(rule).err()?));
            Control::ALL.into_iter().filter_map(reason)
        };
        let not_applicable = rules.iter().copied().flat_map(reasons).collect();
        let [losses, departures, growth] = plan.drawings(registry, device)?;
        let half = half::table(&plan, registry, device)?;
        Ok(Self {
            plan,
            rules,
            cells,
            unet,
            outside,
            failures,
            not_applicable,
            losses,
            departures,
            growth,
            half,
        })
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
    pub(super) fn cell(
        &self,
        &Pair { net, subject, rule }: &Pair,
        registry: &Registry,
        device: &Device,
    ) -> Result<Cell, GammaError> {
        let steps = match net {
            Network::Mlp => [self.steps, self.gamma_steps],
            Network::Unet => [self.unet_steps; 2],
        };
        // What breaks depends on the optimizer.
        let controls = net == Network::Mlp || self.full || subject.label == self.adapter;
        // Where α stands depends on the adapter, and not on the network. In the UNet it would tell something else:
        // layers whose factors are whole ignore α, and have no γ of their own there.
        let alpha = net == Network::Mlp && rule.name == self.optimizer;
        let answers = |gamma, steps, controls| {
            let mut sizes = None;
            let mut answer = |dtype, controls| {
                let seed = self.seed;
                let question = Question::new(subject, rule, gamma);
                let question = Question { net, dtype, steps, seed, controls, alpha, ..question };
                question.answer_sized(registry, device, &mut sizes)
            };
            Ok::<[Answer; 2], GammaError>([
                answer(DType::F64, controls)?,
                answer(DType::F32, false)?,
            ])
        };
        let dyadic = subject.dyadic_gamma(registry)?;
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
