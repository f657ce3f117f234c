//! Adapters of some layers, trained side by side.

use std::collections::HashMap;

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use higanbana_core::{DynAdapter, Init, Kind, Site, trained};
use higanbana_train::{
    Clip, Group, ModelOptimizer, Role, Rule, Scaling, Settings,
    model::parameters,
    scaling::{Layer, ScalingError, scaled},
};

/// Steps of a training.
const STEPS: usize = 10;
/// Samples of a batch.
const BATCH: usize = 6;

/// An algorithm with options, at some layers.
pub struct Course {
    sites: Vec<Site>,
    weights: Vec<Tensor<2>>,
    /// With $\gamma$.
    published: Vec<DynAdapter>,
    /// Without.
    own: Vec<DynAdapter>,
    /// $\gamma$ as the adapters are asked for it, with and without; alpha has it where they have one.
    gammas: Option<[f64; 2]>,
}

impl Course {
    /// Adapters as they start, or with noise on top; `gamma` goes into alpha, where there is one.
    pub fn new(
        kind: &Kind,
        options: &toml::Table,
        sites: &[Site],
        gamma: f64,
        noise: bool,
    ) -> Self {
        let has_alpha = kind.defaults().contains_key("alpha");
        let weight = |site: &Site| random(&site.path, [site.out(), site.cols()]).mul_scalar(0.4);
        let weights: Vec<_> = sites.iter().map(weight).collect();
        let build = |alpha: f64| {
            let mut options = options.clone();
            if has_alpha {
                options.insert("alpha".into(), alpha.into());
            }
            let adapter = |(site, weight): (&Site, &Tensor<2>)| {
                let mut init = Init::new(site, weight.clone(), 3);
                let adapter = kind.build(site, &options, &mut init).unwrap();
                let adapter = if noise { trained::shaken(adapter, 0.3, 5) } else { adapter };
                adapter.train()
            };
            sites.iter().zip(&weights).map(adapter).collect::<Vec<_>>()
        };
        let (own, published) = (build(2.0 / gamma), build(2.0));
        let gammas = (!has_alpha).then_some([1.0, 1.0 / gamma]);
        Self { sites: sites.to_vec(), weights, published, own, gammas }
    }

    /// What the theorem is asked.
    pub fn layers(&self, gamma: f64) -> Result<Vec<Layer>, ScalingError> {
        let pairs = self.published.iter().zip(&self.own).zip(&self.sites);
        pairs
            .map(|((published, own), site)| match self.gammas {
                Some(_) => Ok(Layer::of(own, gamma)),
                None => Layer::between(published, own, site, gamma),
            })
            .collect()
    }

    /// The same where alpha is thought to be where the degree has $\gamma$.
    pub fn assumed(&self, gamma: f64) -> Vec<Layer> {
        self.own.iter().map(|own| Layer::of(own, gamma)).collect()
    }

    /// The updates of all layers after each step with $\gamma$.
    pub fn with_gamma(&self, rule: &Rule) -> Vec<Vec<f64>> {
        self.published(rule, None, |_, _| Group { rate: rule.rate, settings: felt(rule) })
    }

    /// The same in groups of any kind, by layer and tensor, with a bound of the norm of all gradients.
    pub fn published(
        &self,
        rule: &Rule,
        clip: Option<f64>,
        group: impl Fn(usize, &str) -> Group,
    ) -> Vec<Vec<f64>> {
        self.trained(&self.published, rule, self.gammas.map(|it| it[0]), clip, group)
    }

    /// The updates without $\gamma$, from scaled values at scaled rates and hyperparameters.
    pub fn without_gamma(&self, rule: &Rule, scalings: &[Scaling]) -> Vec<Vec<f64>> {
        let factor = |layer: usize, name: &str| {
            let scaling: &Scaling = &scalings[layer];
            scaling.block(name).map_or(1.0, |block| scaling.blocks[block].factor)
        };
        let group = |layer: usize, name: &str| {
            let a = factor(layer, name);
            Group { rate: rule.rate * a.powi(rule.c()), settings: scaled(rule, &felt(rule), a) }
        };
        self.from(rule, None, factor, group)
    }

    /// The same from values times `factor`, in groups of any kind.
    pub fn from(
        &self,
        rule: &Rule,
        clip: Option<f64>,
        factor: impl Fn(usize, &str) -> f64,
        group: impl Fn(usize, &str) -> Group,
    ) -> Vec<Vec<f64>> {
        let start = |(layer, adapter): (usize, &DynAdapter)| {
            let scale = |name: &str, values: &mut Vec<f64>| {
                let a = factor(layer, name);
                values.iter_mut().for_each(|value| *value *= a);
            };
            trained::map(adapter.clone(), scale).train()
        };
        let own: Vec<_> = self.own.iter().enumerate().map(start).collect();
        self.trained(&own, rule, self.gammas.map(|it| it[1]), clip, group)
    }

    fn trained(
        &self,
        adapters: &[DynAdapter],
        rule: &Rule,
        gamma: Option<f64>,
        clip: Option<f64>,
        group: impl Fn(usize, &str) -> Group,
    ) -> Vec<Vec<f64>> {
        let mut model = adapters.to_vec();
        let mut groups: Vec<Group> = Vec::new();
        let members: HashMap<_, _> = parameters(&model)
            .into_iter()
            .map(|(id, path)| {
                let layer = path.split('.').next().unwrap().parse().unwrap();
                let name = path.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap();
                let group = group(layer, name);
                let known = groups.iter().position(|known| *known == group);
                (
                    id,
                    known.unwrap_or_else(|| {
                        groups.push(group);
                        groups.len() - 1
                    }),
                )
            })
            .collect();
        let mut optimizer = ModelOptimizer::of(rule, &groups, members);
        if let Some(clip) = clip {
            optimizer = optimizer.clipped(Clip::Whole(clip));
        }
        let mut updates = Vec::new();
        for _ in 0..STEPS {
            let loss = self.loss(&model, gamma);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1.0, model, gradients);
            let adapters = model.iter().enumerate();
            let update = adapters.flat_map(|(layer, adapter)| {
                let update = self.update(&adapter.clone().valid(), layer, gamma);
                update.to_data().iter::<f64>().collect::<Vec<_>>()
            });
            updates.push(update.collect());
        }
        updates
    }

    fn update(&self, adapter: &DynAdapter, layer: usize, gamma: Option<f64>) -> Tensor<2> {
        let (site, weight) = (&self.sites[layer], self.weights[layer].clone());
        match gamma {
            Some(gamma) => adapter.update_gamma(site, &weight, gamma),
            None => adapter.update_at(site, &weight, 1.0),
        }
    }

    /// The distance of what the layers make of a batch to what others do.
    fn loss(&self, model: &[DynAdapter], gamma: Option<f64>) -> Tensor<1> {
        let loss = |(layer, adapter): (usize, &DynAdapter)| {
            let site = &self.sites[layer];
            let update = self.update(adapter, layer, gamma);
            let weight = Tensor::from_inner(self.weights[layer].clone()) + update;
            // The same batch at each step: an estimate of a distance grows only where gradients agree.
            let x = random(&format!("{} x", site.path), [BATCH, site.cols()]);
            let teacher = random(&format!("{} teacher", site.path), [site.out(), site.cols()]);
            let y = x.clone().matmul(teacher.transpose()).tanh();
            let output = Tensor::from_inner(x).matmul(weight.transpose()).tanh();
            (output - Tensor::from_inner(y)).square().mean()
        };
        model.iter().enumerate().map(loss).reduce(|a, b| a + b).unwrap()
    }
}

/// How far two trainings are apart at most, relative to the updates.
pub fn departure(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = one.iter().zip(other);
    let each = pairs.map(|(x, y)| {
        let difference = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
        difference / norm(&mut x.iter().copied())
    });
    each.fold(0.0, |most, it| if it > most || it.is_nan() { it } else { most })
}

/// Hyperparameters that are felt where numbers are of order 1.
pub fn felt(rule: &Rule) -> Settings {
    rule.hyperparameters.iter().fold(rule.settings(), |settings, h| {
        let value = match h.role {
            Role::Number => return settings,
            Role::Decay => 0.05,
            Role::Ridge | Role::Norm | Role::Estimate => 0.01,
            Role::Epsilon => 1e-3,
        };
        settings.with(h.name, value)
    })
}

/// Seeded numbers by a name of their own.
fn random(name: &str, shape: [usize; 2]) -> Tensor<2> {
    let like = Tensor::<2>::zeros([1, 1], (&Device::default(), DType::F64));
    let site = Site::new(name, higanbana_core::SiteKind::Linear, [1, 1]);
    Init::new(&site, like, 7).normal(shape, 1.0)
}
