//! A training, and what is measured on the way.

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams},
    tensor::Tensor,
};
use higanbana_core::{
    Condition, Site, slot,
    spectrum::{self, SpectrumError, Svd},
};

use super::{LEADING, LIKENESS, Means, Moment, Parameters};
use crate::{
    experiment::{Failure, Progress},
    gamma::{Adapted, Denoising, Task},
    measures::Measures,
    regression::Regression,
};

/// First batches, on which nothing is trained.
const KEPT: usize = 8;

/// A task that says how much of it is left.
pub(super) trait Followed: Task {
    /// Square root of the expected loss.
    fn error(&self, model: &Self::Model) -> f64;

    /// What adapters are told of a step, as [training](higanbana_train) does: nested adapters draw from it the part
    /// that they train, others leave ranks out by its times.
    fn condition(&self, step: usize) -> Condition;
}

impl Followed for Regression {
    fn error(&self, model: &Self::Model) -> f64 {
        self.error(model)
    }

    fn condition(&self, step: usize) -> Condition {
        self.condition(step)
    }
}

impl Followed for Denoising {
    fn error(&self, model: &Self::Model) -> f64 {
        let loss = |batch| {
            // As in sampling: the times are told, and nothing is left out at random.
            let told = Condition { step: None, ..self.condition(batch) };
            let model = slot::condition(model.clone(), &told);
            self.loss(&model, batch).to_data().iter::<f64>().sum::<f64>()
        };
        ((0..KEPT).map(loss).sum::<f64>() / KEPT as f64).sqrt()
    }

    fn condition(&self, step: usize) -> Condition {
        self.condition(step)
    }
}

/// Trains, and measures after steps 1, 2, 4, ... and the last.
pub(super) fn follow<T: Followed>(
    net: Adapted<T>,
    p: &Parameters,
    progress: Progress,
) -> Result<Vec<Moment>, Failure> {
    let Adapted { mut model, task, sites } = net;
    let bases: Vec<Base> = sites.into_iter().map(Base::new).collect::<Result<_, _>>()?;
    let start = task.error(&model);
    let mut optimizer = AdamConfig::new().init();
    let mut moments = Vec::new();
    for step in 1..=p.steps {
        let told = slot::condition(model.clone(), &task.condition(KEPT + step));
        let loss = task.loss(&told, KEPT + step);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(p.rate, model, gradients);
        if step.is_power_of_two() || step == p.steps {
            let error = task.error(&model) / start;
            let moment = Moment::of(&model, &bases, step, error);
            moments.push(moment.map_err(|error| format!("step {step}: {error}"))?);
            progress(step, p.steps);
        }
    }
    Ok(moments)
}

/// A layer before it is trained.
struct Base {
    site: Site,
    w0: Tensor<2>,
    svd: Svd,
}

impl Base {
    fn new((site, w0): (Site, Tensor<2>)) -> Result<Self, SpectrumError> {
        Ok(Self { svd: spectrum::svd(&w0)?, site, w0 })
    }
}

impl Moment {
    /// What there is to be measured of all updates.
    fn of<M: Module>(
        model: &M,
        bases: &[Base],
        step: usize,
        error: f64,
    ) -> Result<Self, SpectrumError> {
        let (mut layer, mut parameters, mut squares) = (Means::default(), 0, [0.0; 2]);
        let share = (bases.len() as f64).recip();
        let slots = slot::collect(&model.valid());
        for (slot, Base { site, w0, svd: base }) in slots.iter().zip(bases) {
            let adapter = &slot.members[0].adapter;
            let update = adapter.update_at(site, w0, 1.0);
            let measures = Measures::of(&update, site.full_rank())?;
            let tuned = spectrum::svd(&(w0.clone() + update))?;
            let leading = LEADING.min(base.s.len());
            let intruders = spectrum::intruder_dimensions(base, &tuned, leading, &[LIKENESS])[0];
            parameters += adapter.parameter_count(site);
            squares[0] += measures.frobenius.powi(2);
            squares[1] += spectrum::frobenius_norm(&base.s).powi(2);
            layer.spectral += share * measures.spectral / spectrum::spectral_norm(&base.s);
            layer.rank += share * measures.rank as f64;
            layer.stable_rank += share * measures.stable_rank;
            layer.effective_rank += share * measures.effective_rank;
            layer.rank_90 += share * measures.rank_90 as f64;
            layer.rank_99 += share * measures.rank_99 as f64;
            layer.intruders += share * intruders as f64;
        }
        let relative = (squares[0] / squares[1]).sqrt();
        Ok(Self { step, parameters, error, relative, layer })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};
    use higanbana_adapters::Injection;

    use super::*;
    use crate::spectra::Setting;

    /// Rank of the update after one step of the regression.
    fn first_rank(adapter: &str, options: toml::Table, seed: u64) -> usize {
        let device = (&Device::flex(), DType::F64);
        let task = Regression::new([16, 16], [1.0, 2.0], 8, device, seed).unwrap();
        let injection = Injection::new("t", adapter).options(options).seed(seed);
        let registry = higanbana_adapters::registry();
        let net = Adapted::new(&task.base(), task, &registry, &injection).unwrap();
        let setting = Setting::Regression { size: 16, distance: 0.5, budget: 0 };
        let parameters =
            Parameters { adapter: adapter.into(), setting, rate: 0.01, steps: 1, batch: 8, seed };
        follow(net, &parameters, &|_, _| ()).unwrap()[0].layer.rank as usize
    }

    /// DyLoRA trains one block of its nest, of rank 1; a LoRA of the same size all four ranks.
    #[test]
    fn nested_adapters_train_a_part_of_their_nest() {
        for seed in 0..4 {
            let nested = toml::toml! { rank = 4 block_size = 1 };
            assert_eq!(first_rank("dylora", nested, seed), 1);
            assert_eq!(first_rank("lora", toml::toml! { rank = 4 }, seed), 4);
        }
    }

    /// T-LoRA moves the ranks that its mask leaves, $\lfloor (T-t)/T \cdot 3 \rfloor + 1$ of four, and what has moved of
    /// three factors is of twice their rank.
    #[test]
    fn masks_follow_the_time_of_the_step() {
        let mut met = std::collections::BTreeSet::new();
        for seed in 0..6 {
            let device = (&Device::flex(), DType::F64);
            let task = Regression::new([16, 16], [1.0, 2.0], 8, device, seed).unwrap();
            let Condition { timesteps, horizon, .. } = task.condition(KEPT + 1);
            let active = ((horizon - timesteps[0]) / horizon * 3.0) as usize + 1;
            assert_eq!(first_rank("tlora", toml::toml! { rank = 4 }, seed), 2 * active);
            met.insert(active);
        }
        assert!(met.len() > 1, "{met:?}");
    }
}
