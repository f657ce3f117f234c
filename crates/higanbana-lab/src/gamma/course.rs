//! One training, and how far another departs from it.

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{DType, Tensor},
};
use higanbana_core::slot;
use higanbana_train::{Clip, Group, ModelOptimizer, Place};
use serde::Serialize;

use super::{
    Control, Start,
    deviation::{Comparison, difference, median},
    initial::{Initial, last, site_of},
    setup::{Setup, Sizes},
    task::{Adapted, Task, stream},
};

/// Steps after which the sizes of gradients are known well enough; where that is not so it is seen, and they are
/// taken from all steps.
pub(super) const PROBED: usize = 32;

/// A training in progress, with the update after each step.
pub(super) struct Course<'a, T: Task> {
    net: &'a Adapted<T>,
    model: Option<T::Model>,
    optimizer: ModelOptimizer,
    /// Type to which the trained tensors are rounded after each step.
    rounded: Option<DType>,
    /// The updates of all sites after each step.
    pub updates: Vec<Vec<f64>>,
    /// Norms of the gradients of each group at each step.
    pub norms: Vec<Vec<f64>>,
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

impl<'a, T: Task> Course<'a, T> {
    /// The training with $\gamma$.
    pub(super) fn with_gamma(net: &'a Adapted<T>, setup: &Setup) -> Self {
        let gammas = setup.scalings.iter().map(|scaling| scaling.gamma).collect();
        Self::scaled(net, setup, Some(gammas))
    }

    /// The same where `net` has $\gamma$ in its options: on the path on which users train.
    pub(super) fn with_alpha(net: &'a Adapted<T>, setup: &Setup) -> Self {
        Self::scaled(net, setup, None)
    }

    fn scaled(net: &'a Adapted<T>, setup: &Setup, gammas: Option<Vec<f64>>) -> Self {
        let groups = setup.factors.iter().map(|a| setup.with_gamma(*a)).collect();
        let clip = match setup.whole {
            Some(threshold) => Clip::Whole(threshold),
            None => {
                let pairs = setup.thresholds.iter().zip(&setup.factors);
                Clip::Groups(pairs.map(|(threshold, a)| threshold * a).collect())
            }
        };
        Self::new(net, setup, gammas, false, groups, clip)
    }

    /// The training without $\gamma$, as the theorem says or with one rule broken.
    pub(super) fn without_gamma(
        net: &'a Adapted<T>,
        setup: &Setup,
        broken: Option<Control>,
    ) -> Self {
        let gammas = vec![1.0; setup.scalings.len()];
        Self::unscaled(net, setup, Some(gammas), broken)
    }

    /// The same on the path on which users train.
    pub(super) fn without_alpha(net: &'a Adapted<T>, setup: &Setup) -> Self {
        Self::unscaled(net, setup, None, None)
    }

    fn unscaled(
        net: &'a Adapted<T>,
        setup: &Setup,
        gammas: Option<Vec<f64>>,
        broken: Option<Control>,
    ) -> Self {
        let groups = setup.factors.iter().map(|a| setup.without_gamma(*a, broken)).collect();
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
        Self::new(net, setup, gammas, true, groups, clip)
    }

    fn new(
        net: &'a Adapted<T>,
        setup: &Setup,
        gammas: Option<Vec<f64>>,
        multiplied: bool,
        groups: Vec<Group>,
        clip: Clip,
    ) -> Self {
        let mut gammas = gammas.into_iter().flatten();
        let model = slot::edit(net.model.clone(), |slot| slot.members[0].gamma = gammas.next());
        let group = |path: &str| Some(setup.group(site_of(&net.sites, path)?, last(path)));
        let (device, dtype) = net.options();
        let model = model.map(&mut Initial {
            place: Place::default(),
            noise: (setup.start == Start::Noise)
                .then(|| stream("noise", &device, dtype, setup.seed)),
            factor: &|path| Some(setup.factors[group(path)?]),
            multiplied,
        });
        let choose = |path: &str| group(path).unwrap_or_default();
        let optimizer = ModelOptimizer::new(&model, setup.rule, &groups, choose);
        let finite = match &clip {
            Clip::Groups(thresholds) => thresholds.iter().all(|t| t.is_finite()),
            Clip::Whole(threshold) => threshold.is_finite(),
        };
        let optimizer = if finite { optimizer.clipped(clip) } else { optimizer };
        let (updates, norms, losses) = (Vec::new(), Vec::new(), Vec::new());
        Self { net, model: Some(model), optimizer, rounded: None, updates, norms, losses }
    }

    /// The same with the trained tensors rounded to a type, now and after each step.
    pub(super) fn rounded(mut self, dtype: DType) -> Self {
        self.rounded = Some(dtype);
        self.model = self.model.map(|model| model.map(&mut Round(dtype)));
        self
    }

    /// One step; gives the updates $\Delta W$ of all sites after it.
    fn step(&mut self) -> Vec<f64> {
        let model = self.model.take().expect("the model is back after each step");
        let loss = self.net.task.loss(&model, self.losses.len());
        self.losses.push(loss.to_data().iter::<f64>().sum());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let mut model = self.optimizer.step(1.0, model, gradients);
        if let Some(dtype) = self.rounded {
            model = model.map(&mut Round(dtype));
        }
        self.norms.push(self.optimizer.norms().to_vec());
        let update = self.net.updates(&model);
        self.model = Some(model);
        update
    }

    /// The training after this many steps in all.
    pub(super) fn after(mut self, steps: usize) -> Self {
        self.until(steps);
        self
    }

    /// Trains up to this many steps in all.
    fn until(&mut self, steps: usize) {
        while self.updates.len() < steps {
            let update = self.step();
            self.updates.push(update);
        }
    }

    /// The first step whose update is not finite.
    pub(super) fn diverged(&self) -> Option<usize> {
        self.updates.iter().position(|update| update.iter().any(|x| !x.is_finite()))
    }

    /// Median norms of the gradients.
    pub(super) fn sizes(&self) -> Sizes {
        let group = |group: usize| median(self.norms.iter().map(|norms| norms[group]));
        let whole = |norms: &Vec<f64>| norms.iter().map(|n| n * n).sum::<f64>().sqrt();
        Sizes {
            groups: (0..self.norms[0].len()).map(group).collect(),
            whole: median(self.norms.iter().map(whole)),
        }
    }

    /// The same of a training with $\gamma$, at which to clip one without.
    pub(super) fn thresholds(&self, setup: &Setup) -> Vec<f64> {
        self.sizes().groups.iter().zip(&setup.factors).map(|(norm, a)| norm / a).collect()
    }

    /// Share of the steps on which the gradients of the first group were clipped.
    pub(super) fn clipped(&self, setup: &Setup) -> f64 {
        let threshold = setup.thresholds[0] * setup.factors[0];
        let active = self.norms.iter().filter(|norms| norms[0] > threshold).count();
        active as f64 / self.norms.len() as f64
    }

    /// Relative difference of the updates of another training after each step.
    pub(super) fn departures(&self, other: &Self) -> Vec<f64> {
        let pairs = self.updates.iter().zip(&other.updates);
        pairs.map(|(x, y)| difference(x, y).0).collect()
    }

    /// Runs another training beside this one, until it departs by more than `enough`.
    pub(super) fn compare(
        &mut self,
        mut other: Course<'_, T>,
        steps: usize,
        enough: Option<f64>,
    ) -> Comparison {
        let mut comparison = Comparison { growth: Vec::new(), bit_exact: true };
        for step in 0..steps {
            self.until(step + 1);
            let (deviation, same) = difference(&self.updates[step], &other.step());
            comparison.growth.push(deviation);
            comparison.bit_exact &= same;
            if enough.is_some_and(|enough| deviation > enough) {
                break;
            }
        }
        comparison
    }
}

/// Rounds trained tensors to a type and back.
struct Round(DType);

impl ModuleMapper for Round {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        param.map(|tensor| {
            let dtype = tensor.dtype();
            tensor.inner().cast(self.0).cast(dtype).autodiff().require_grad()
        })
    }
}
