//! One training, and how far another departs from it.

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};
use higanbana_core::{Init, Site, SiteKind, slot};
use higanbana_train::{
    Clip, Group, ModelOptimizer, Role, Rule, Scaling, Settings, scaling::scaled,
};

use serde::{Deserialize, Serialize};

use super::{
    Control, Question,
    net::{Adapted, Net, stream},
};

/// From which values adapters start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Their own: the adapted network equals the base. Adapters of a high degree have small gradients
    /// there, and little to compare; an optimizer that [cannot](Rule::needs_nonzero) start from zeros
    /// starts from noise.
    Own,
    /// Noise on top, so that the update is of the size of the weight.
    #[default]
    Noise,
}

/// A pair of trainings that the theorem says are the same.
///
/// Learning rate, hyperparameters and initial values are set for the training *without* $\gamma$, where
/// all magnitudes are of order 1; those of the training with $\gamma$ follow by dividing by the factors,
/// and multiplying by them again gives what is compared.
pub(super) struct Setup {
    pub rule: &'static Rule,
    /// Of every site.
    pub scalings: Vec<Scaling>,
    /// The distinct factors $a$: parameters with the same one form a group.
    pub factors: Vec<f64>,
    pub rate: f64,
    pub settings: Settings,
    pub start: Start,
    /// Of the gradients of each group, without $\gamma$.
    pub thresholds: Vec<f64>,
    /// One threshold for all groups in place of those.
    pub whole: Option<f64>,
    pub seed: u64,
}

impl Setup {
    /// Settings at which every rule is felt. The threshold is the median norm of the gradients.
    pub(super) fn new(net: &Adapted, question: &Question, scalings: Vec<Scaling>) -> Self {
        let Question { rule, steps, seed, .. } = *question;
        let start = if rule.needs_nonzero.is_some() { Start::Noise } else { question.start };
        let factors = distinct(&scalings);
        let mut setup = Self {
            rule,
            scalings,
            rate: rule.rate,
            settings: felt(rule, None, &factors),
            start,
            thresholds: vec![f64::INFINITY; factors.len()],
            whole: None,
            factors,
            seed,
        };
        let mut probe = Course::without_gamma(net, &setup, None);
        probe.run(steps, |_, _| true);
        setup.thresholds = probe.median_norms();
        setup.settings = felt(rule, Some(probe.median_of_whole()), &setup.factors);
        setup
    }

    /// Clips at the median norms of a training with $\gamma$.
    pub(super) fn clip_as(&mut self, course: &Course) {
        let norms = course.median_norms();
        self.thresholds = norms.iter().zip(&self.factors).map(|(norm, a)| norm / a).collect();
    }

    /// The same with other factors, not clipped yet.
    pub(super) fn unequal(&self, scalings: Vec<Scaling>) -> Self {
        let factors = distinct(&scalings);
        Self {
            rule: self.rule,
            scalings,
            rate: self.rate,
            settings: self.settings.clone(),
            // Layers at work from the first step: one that hardly moves has no say in the norm.
            start: Start::Noise,
            thresholds: vec![f64::INFINITY; factors.len()],
            whole: Some(f64::INFINITY),
            factors,
            seed: self.seed,
        }
    }

    /// Whether no rounding is involved.
    pub(super) fn is_dyadic(&self) -> bool {
        self.scalings.iter().all(Scaling::is_dyadic)
    }

    fn group(&self, site: usize, name: &str) -> usize {
        let scaling = &self.scalings[site];
        let factor = scaling.block(name).map_or(1.0, |block| scaling.blocks[block].factor);
        // A tensor that is in no block does not train.
        self.factors.iter().position(|known| *known == factor).unwrap_or(0)
    }
}

/// The distinct factors of all blocks.
fn distinct(scalings: &[Scaling]) -> Vec<f64> {
    let blocks = scalings.iter().flat_map(|scaling| &scaling.blocks);
    let mut factors: Vec<f64> = blocks.map(|block| block.factor).collect();
    factors.sort_by(f64::total_cmp);
    factors.dedup();
    factors
}

/// Hyperparameters that are felt where gradients and parameters are of order 1.
fn felt(rule: &Rule, norm: Option<f64>, factors: &[f64]) -> Settings {
    rule.hyperparameters.iter().fold(rule.settings(), |settings, h| {
        let value = match (h.role, h.power) {
            (Role::Epsilon, -1) => 1e-3,
            // A floor of the magnitude of parameters.
            (Role::Epsilon, 1) => 0.3,
            (Role::Epsilon, _) => 1e-6,
            // Sums of squares over all steps.
            (Role::Ridge, _) => 1e-2,
            (Role::Norm, _) => 2.0 * norm.unwrap_or(0.5),
            // Added to the gradient, more would outweigh it.
            (Role::Decay, -2) => 0.01,
            (Role::Decay, _) => 0.1,
            (Role::Estimate, _) => 1e-2,
            (Role::Number, _) => return settings,
        };
        let scaled = factors.iter().map(|a| a.powi(-h.power)).find(|factor| *factor != 1.0);
        settings.with(h.name, scaled.map_or(value, |factor| twice_single(value, factor)))
    })
}

/// A number near `value` that is an `f32`, and so, as nearly as can be, is `factor` times it. Burn holds
/// hyperparameters in `f32`: the rounding of a scaled one would be all that is seen.
fn twice_single(value: f64, factor: f64) -> f64 {
    let first = (value as f32).to_bits();
    let error = |v: f64| ((f64::from((v * factor) as f32)) / (v * factor) - 1.0).abs();
    let candidates = (first..first + 4096).map(|bits| f64::from(f32::from_bits(bits)));
    candidates.min_by(|x, y| error(*x).total_cmp(&error(*y))).unwrap_or(value)
}

/// A training in progress, with the update after each step.
pub(super) struct Course<'a> {
    net: &'a Adapted,
    model: Option<Net>,
    optimizer: ModelOptimizer,
    /// The updates of all sites after each step.
    pub updates: Vec<Vec<f64>>,
    /// Norms of the gradients of each group at each step.
    norms: Vec<Vec<f64>>,
    /// Loss before each step.
    pub losses: Vec<f64>,
}

/// Something at each step, to be drawn.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// What it is.
    pub name: String,
    /// Its value at each step.
    pub values: Vec<f64>,
}

impl<'a> Course<'a> {
    /// The training with $\gamma$.
    pub(super) fn with_gamma(net: &'a Adapted, setup: &Setup) -> Self {
        let gammas: Vec<f64> = setup.scalings.iter().map(|scaling| scaling.gamma).collect();
        let groups = setup.factors.iter().map(|a| Self::divided(setup, *a)).collect();
        let clip = match setup.whole {
            Some(threshold) => Clip::Whole(threshold),
            None => {
                let pairs = setup.thresholds.iter().zip(&setup.factors);
                Clip::Groups(pairs.map(|(threshold, a)| threshold * a).collect())
            }
        };
        Self::new(net, setup, &gammas, false, groups, clip)
    }

    /// The training without $\gamma$, as the theorem says or with one rule broken.
    pub(super) fn without_gamma(net: &'a Adapted, setup: &Setup, broken: Option<Control>) -> Self {
        let rule = setup.rule;
        let group = |a: f64| {
            let with = Self::divided(setup, a);
            let c = if broken == Some(Control::WrongC) { wrong(rule.c()) } else { rule.c() };
            let right = scaled(rule, &with.settings, a);
            let settings = rule.hyperparameters.iter().fold(right, |settings, h| {
                if broken.is_some_and(|control| control.leaves(h.role)) {
                    settings.with(h.name, with.settings.get(h.name))
                } else {
                    settings
                }
            });
            Group { rate: with.rate * a.powi(c), settings }
        };
        let groups = setup.factors.iter().map(|a| group(*a)).collect();
        let clip = match setup.whole {
            Some(threshold) => Clip::Whole(threshold),
            None => {
                let threshold = |(threshold, a): (&f64, &f64)| {
                    let with = threshold * a;
                    if broken == Some(Control::UnscaledThreshold) { with } else { with / a }
                };
                let pairs = setup.thresholds.iter().zip(&setup.factors);
                Clip::Groups(pairs.map(threshold).collect())
            }
        };
        let gammas = vec![1.0; setup.scalings.len()];
        Self::new(net, setup, &gammas, true, groups, clip)
    }

    /// Rate and hyperparameters with $\gamma$ of the group with factor `a`.
    fn divided(setup: &Setup, a: f64) -> Group {
        Group {
            rate: setup.rate * a.powi(-setup.rule.c()),
            settings: scaled(setup.rule, &setup.settings, a.recip()),
        }
    }

    fn new(
        net: &'a Adapted,
        setup: &Setup,
        gammas: &[f64],
        multiplied: bool,
        groups: Vec<Group>,
        clip: Clip,
    ) -> Self {
        let site = |path: &str| {
            let at = |(site, _): &&(Site, Tensor<2>)| {
                path.strip_prefix(site.path.as_str()).is_some_and(|rest| {
                    rest.starts_with('.') && rest[1..].starts_with(parameter(site.kind))
                })
            };
            net.sites.iter().position(|entry| at(&entry))
        };
        let mut index = 0;
        let model = slot::edit(net.model.clone(), |slot| {
            slot.members[0].gamma = Some(gammas[index]);
            index += 1;
        });
        let (device, dtype) = (net.sites[0].1.device(), net.sites[0].1.dtype());
        let mut initial = Initial {
            path: Vec::new(),
            noise: (setup.start == Start::Noise)
                .then(|| stream("noise", &device, dtype, setup.seed)),
            factor: &|path: &str, name: &str| {
                site(path).map(|site| setup.factors[setup.group(site, name)])
            },
            multiplied,
        };
        let model = model.map(&mut initial);
        let choose = |path: &str| site(path).map_or(0, |site| setup.group(site, last(path)));
        let optimizer = ModelOptimizer::new(&model, setup.rule, &groups, choose);
        let finite = match &clip {
            Clip::Groups(thresholds) => thresholds.iter().all(|t| t.is_finite()),
            Clip::Whole(threshold) => threshold.is_finite(),
        };
        let optimizer = if finite { optimizer.clipped(clip) } else { optimizer };
        let (updates, norms, losses) = (Vec::new(), Vec::new(), Vec::new());
        Self { net, model: Some(model), optimizer, updates, norms, losses }
    }

    /// Trains as long as `go_on` of the step and its update says so.
    pub(super) fn run(&mut self, steps: usize, mut go_on: impl FnMut(usize, &[f64]) -> bool) {
        for step in 0..steps {
            let model = self.model.take().expect("the model is back after each step");
            let loss = self.net.loss(&model, step);
            self.losses.push(loss.to_data().iter::<f64>().sum());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let model = self.optimizer.step(1.0, model, gradients);
            self.norms.push(self.optimizer.norms().to_vec());
            let update = self.update(&model);
            self.model = Some(model);
            let more = go_on(step, &update);
            self.updates.push(update);
            if !more {
                break;
            }
        }
    }

    /// $\Delta W$ of all sites.
    fn update(&self, model: &Net) -> Vec<f64> {
        let slots = slot::collect(&model.valid());
        let updates = slots.iter().zip(&self.net.sites).map(|(slot, (site, w0))| {
            let member = &slot.members[0];
            let gamma = member.gamma.expect("every member has one");
            member.adapter.update_gamma(site, w0, gamma).to_data()
        });
        updates.flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect()
    }

    /// The first step whose update is not finite.
    pub(super) fn diverged(&self) -> Option<usize> {
        self.updates.iter().position(|update| update.iter().any(|x| !x.is_finite()))
    }

    fn median_norms(&self) -> Vec<f64> {
        let groups = self.norms[0].len();
        (0..groups).map(|group| median(self.norms.iter().map(|norms| norms[group]))).collect()
    }

    /// Median norm of the gradients of all groups together.
    pub(super) fn median_of_whole(&self) -> f64 {
        median(self.norms.iter().map(|norms| norms.iter().map(|n| n * n).sum::<f64>().sqrt()))
    }

    /// Share of the steps on which the gradients of the first group were clipped.
    pub(super) fn clipped(&self, setup: &Setup) -> f64 {
        let threshold = setup.thresholds[0] * setup.factors[0];
        let active = self.norms.iter().filter(|norms| norms[0] > threshold).count();
        active as f64 / self.norms.len() as f64
    }

    /// Relative difference of the updates of another training after each step.
    pub(super) fn departures(&self, other: &Course) -> Vec<f64> {
        let pairs = self.updates.iter().zip(&other.updates);
        pairs.map(|(x, y)| difference(x, y).0).collect()
    }

    /// Runs another training beside this one, until it departs by more than `enough`.
    pub(super) fn compare(
        &self,
        mut other: Course,
        steps: usize,
        enough: Option<f64>,
    ) -> Comparison {
        let mut comparison = Comparison { growth: Vec::new(), bit_exact: true };
        other.run(steps, |step, update| {
            let (deviation, same) = difference(&self.updates[step], update);
            comparison.growth.push(deviation);
            comparison.bit_exact &= same;
            enough.is_none_or(|enough| deviation <= enough)
        });
        comparison
    }
}

/// How two trainings differ.
pub(super) struct Comparison {
    /// Relative difference after each step.
    pub growth: Vec<f64>,
    pub bit_exact: bool,
}

impl Comparison {
    pub(super) fn deviation(&self) -> f64 {
        self.growth.iter().copied().fold(0.0, f64::max)
    }
}

/// $\lVert x - y \rVert / \lVert x \rVert$, and whether both are the same bits. What is not finite is
/// as far away as can be.
fn difference(x: &[f64], y: &[f64]) -> (f64, bool) {
    let same = x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let apart = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
    let deviation = if apart == 0.0 { 0.0 } else { apart / norm(&mut x.iter().copied()) };
    (if deviation.is_finite() { deviation } else { f64::MAX }, same)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An exponent that is not $c$.
fn wrong(c: i32) -> i32 {
    match c {
        1 => 2,
        _ => 1,
    }
}

/// The field of a layer that holds a parameter of this kind.
fn parameter(kind: SiteKind) -> &'static str {
    use SiteKind::{Bias, Norm, NormBias};
    match kind {
        Norm => "gamma",
        NormBias => "beta",
        Bias => "bias",
        _ => "weight",
    }
}

/// The last name of a path that is no index.
fn last(path: &str) -> &str {
    path.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or_default()
}

/// Initial values: as they are, or with noise; divided by the factor, and multiplied by it again for
/// the training without $\gamma$.
struct Initial<'a> {
    path: Vec<String>,
    noise: Option<Init>,
    /// $a$ of a parameter; `None` for one that is no adapter's.
    factor: &'a dyn Fn(&str, &str) -> Option<f64>,
    multiplied: bool,
}

impl ModuleMapper for Initial<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if !path.contains(".adapters.") || !param.is_require_grad() {
            return param;
        }
        let Some(a) = (self.factor)(&path, last(&path)) else { return param };
        let size = param.lazy_shape().num_elements();
        let noise: Option<Vec<f64>> = self
            .noise
            .as_mut()
            .map(|init| init.normal::<1>([size], 0.3).to_data().iter::<f64>().collect());
        let multiplied = self.multiplied;
        param.map(|tensor| {
            let (device, dtype, shape) = (tensor.device(), tensor.dtype(), tensor.shape());
            let mut values: Vec<f64> = tensor.to_data().iter::<f64>().collect();
            if let Some(noise) = &noise {
                values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
            }
            let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), (&device, dtype));
            let divided = tensor.div_scalar(a);
            let value = if multiplied { divided.mul_scalar(a) } else { divided };
            value.autodiff().require_grad()
        })
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}
