//! Experiment `fit`: what does an adapter learn of an update that is not of its family?
//!
//! A frozen weight $W_0$ and a hidden one $W_0 + D$, where $D = U \operatorname{diag}(\sigma) V^\top$ has
//! random singular vectors and the spectrum $\sigma_k \propto k^{-p}$, $\lVert D \rVert_F = 1$. The
//! adapter is trained on fresh batches $x \sim \mathcal N(0, I)$ by
//! $$L = \tfrac1b \lVert (\Delta W - D)\, x \rVert_F^2, \qquad \mathbb E\, L = \lVert \Delta W - D \rVert_F^2,$$
//! so that the expected loss *is* the squared error of the update. Reported with it are the rank measures
//! of $\Delta W$, and the error below which no matrix of the adapter's rank bound can come (Eckart-Young).

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    optim::GradientsParams,
    tensor::{DType, Tensor},
};
use higanbana_adapters::{Injection, inject};
use higanbana_core::{
    Init, Site, SiteKind, slot,
    spectrum::{self, Svd},
};
use higanbana_io::run::Run;
use higanbana_train::{Group, ModelOptimizer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    experiment::{Experiment, Failure, Lab, Progress},
    gamma::rule,
};

/// The experiment.
#[derive(Debug)]
pub struct Fit;

/// What one run of it depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the algorithm.
    pub adapter: String,
    /// Its options.
    #[serde(default)]
    pub options: toml::Table,
    /// Rows of the weight.
    #[serde(default = "size")]
    pub rows: usize,
    /// Columns of the weight.
    #[serde(default = "size")]
    pub cols: usize,
    /// Exponent $p$ of the spectrum of $D$: 0 is flat, large is of rank 1.
    #[serde(default = "one")]
    pub decay: f64,
    /// Name of the optimizer.
    #[serde(default = "adam")]
    pub optimizer: String,
    /// Learning rate; by default that at which the optimizer trains small networks.
    pub rate: Option<f64>,
    /// Number of steps.
    #[serde(default = "steps")]
    pub steps: usize,
    /// Samples of a batch.
    #[serde(default = "size")]
    pub batch: usize,
    /// Seed of weights, adapter and batches.
    #[serde(default)]
    pub seed: u64,
}

fn size() -> usize {
    32
}

fn one() -> f64 {
    1.0
}

fn adam() -> String {
    "adam".into()
}

fn steps() -> usize {
    500
}

/// What one run finds.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Trained values.
    pub parameters: usize,
    /// Rank bound of the update.
    pub rank_bound: usize,
    /// $\lVert \Delta W - D \rVert_F$, which is 1 at the start.
    pub error: f64,
    /// The least error of any matrix of that rank.
    pub floor: f64,
    /// Loss of the last batch.
    pub loss: f64,
    /// Numerical rank of the update, to 8 roundings of f32.
    pub rank: usize,
    /// Its stable rank.
    pub stable_rank: f64,
    /// Its effective rank.
    pub effective_rank: f64,
    /// The rank that holds 90 % of its energy.
    pub rank_90: usize,
    /// The rank that holds 99 % of its energy.
    pub rank_99: usize,
}

impl Experiment for Fit {
    const NAME: &'static str = "fit";
    const TITLE: &'static str = "Regression to an update of a given spectrum";
    type Parameters = Parameters;
    type Outcome = Outcome;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        let sizes = [("rows", p.rows), ("cols", p.cols), ("batch", p.batch), ("steps", p.steps)];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("`{name}` is 0").into());
        }
        let rate = *p.rate.get_or_insert(rule(&p.optimizer)?.rate);
        for (name, value) in [("rate", rate), ("decay", p.decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("`{name}` is {value}").into());
            }
        }
        // Whether the layer can take the adapter.
        Task::new(p, lab)?;
        let defaults = lab.adapters.get(&p.adapter).map(|kind| kind.defaults());
        for (name, value) in defaults.into_iter().flatten() {
            p.options.entry(name).or_insert(value);
        }
        Ok(())
    }

    fn run(
        p: &Parameters,
        lab: &Lab,
        run: &mut Run,
        progress: Progress,
    ) -> Result<Outcome, Failure> {
        let mut task = Task::new(p, lab)?;
        let rule = rule(&p.optimizer)?;
        let group = Group { rate: p.rate.unwrap_or(rule.rate), settings: rule.settings() };
        let mut optimizer = ModelOptimizer::new(&task.model, rule, &[group], |_| 0);
        let every = p.steps.div_ceil(100);
        let mut last = f64::NAN;
        for step in 0..p.steps {
            let loss = task.loss(p.batch);
            last = loss.to_data().iter::<f64>().sum();
            if !last.is_finite() {
                return Err(
                    format!("diverged at step {step}, the loss is {last}; lower `rate`").into()
                );
            }
            if step % every == 0 {
                run.record(&json!({ "step": step, "loss": last }))?;
                progress(step, p.steps);
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &task.model);
            task.model = optimizer.step(1.0, task.model, gradients);
        }
        task.outcome(last)
    }
}

/// A layer that is to become another.
struct Task {
    model: Linear,
    w0: Tensor<2>,
    target: Svd,
    hidden: Tensor<2>,
    batches: Init,
}

impl Task {
    fn new(p: &Parameters, lab: &Lab) -> Result<Self, Failure> {
        let device = &lab.device;
        let stream = |name: &str| {
            let site = Site::new(format!("fit.{name}"), SiteKind::Linear, [1, 1]);
            Init::new(&site, Tensor::zeros([1, 1], (device, DType::F32)), p.seed)
        };
        let w0 = stream("base").normal([p.rows, p.cols], (p.cols as f64).sqrt().recip());
        let target = target(&stream("target").normal([p.rows, p.cols], 1.0), p.decay)?;
        let mut base = LinearConfig::new(p.cols, p.rows).with_bias(false).init(device);
        base.weight = Param::from_tensor(w0.clone().transpose());
        let injection = Injection::new("fit", &p.adapter).options(p.options.clone()).seed(p.seed);
        let (model, _) = inject(&base.train(), &lab.adapters, &injection)?;
        let hidden = target.matrix(device, DType::F32);
        Ok(Self { model, w0, target, hidden, batches: stream("batches") })
    }

    /// The loss of the next batch.
    fn loss(&mut self, batch: usize) -> Tensor<1> {
        let x = self.batches.normal([batch, self.w0.dims()[1]], 1.0);
        let y = x.clone().matmul((self.w0.clone() + self.hidden.clone()).transpose());
        let [x, y] = [x, y].map(Tensor::from_inner);
        (self.model.forward(x) - y).square().sum().div_scalar(batch as f64)
    }

    fn outcome(&self, loss: f64) -> Result<Outcome, Failure> {
        let [rows, cols] = self.w0.dims();
        let slots = slot::collect(&self.model.valid());
        let slot = slots.first().ok_or("the layer has no adapter")?;
        let adapter = &slot.members[0].adapter;
        let update = adapter.update_at(&slot.site, &self.w0, 1.0);
        let values = spectrum::singular_values(&update)?;
        let gap = spectrum::singular_values(&(update - self.hidden.clone()))?;
        let rank_bound = adapter.rank_bound(&slot.site);
        let eps = 8.0 * f64::from(f32::EPSILON);
        Ok(Outcome {
            parameters: adapter.parameter_count(&slot.site),
            rank_bound,
            error: spectrum::frobenius_norm(&gap),
            floor: spectrum::truncation_error(&self.target.s, rank_bound),
            loss,
            rank: spectrum::numerical_rank(&values, rows, cols, eps),
            stable_rank: spectrum::stable_rank(&values),
            effective_rank: spectrum::effective_rank(&values),
            rank_90: spectrum::rank_at_energy(&values, 0.9),
            rank_99: spectrum::rank_at_energy(&values, 0.99),
        })
    }
}

/// The singular vectors of `noise` with the spectrum $k^{-p}$, of Frobenius norm 1.
fn target(noise: &Tensor<2>, decay: f64) -> Result<Svd, spectrum::SpectrumError> {
    let mut svd = spectrum::svd(noise)?;
    svd.s = (1..=svd.s.len()).map(|k| (k as f64).powf(-decay)).collect();
    let norm = spectrum::frobenius_norm(&svd.s);
    svd.s.iter_mut().for_each(|s| *s /= norm);
    Ok(svd)
}
