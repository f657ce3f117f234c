//! Experiment `fit`: what does an adapter learn of an update that is not of its family?
//!
//! A frozen weight $W_0$ and a hidden one $W_0 + D$, where $D$ has random singular vectors, the spectrum
//! $\sigma_k \propto k^{-p}$ and the norm 1. The adapter is trained on fresh normal batches, so that the expected loss is
//! $\lVert \Delta W - D \rVert_F^2$; it is told of each step what training tells it, so that nested ranks and masks act. Reported are this error, the rank measures of $\Delta W$, and the error below which no
//! matrix of the adapter's rank bound can come (Eckart-Young).

use burn::{module::Module, optim::GradientsParams, tensor::DType};
use higanbana_adapters::Injection;
use higanbana_core::{slot, spectrum};
use higanbana_io::run::Run;
use higanbana_train::{Group, ModelOptimizer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    experiment::{Experiment, Failure, Lab, Progress},
    gamma::{Adapted, Task, rule},
    measures::Measures,
    regression::Regression,
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
    /// Rank and size of the update.
    #[serde(flatten)]
    pub measures: Measures,
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
        adapted(p, lab)?;
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
        let Adapted { mut model, task, .. } = adapted(p, lab)?;
        let rule = rule(&p.optimizer)?;
        let group = Group { rate: p.rate.unwrap_or(rule.rate), settings: rule.settings() };
        let mut optimizer = ModelOptimizer::new(&model, rule, &[group], |_| 0);
        let every = p.steps.div_ceil(100);
        let mut last = f64::NAN;
        for step in 0..p.steps {
            let loss = task.loss(&slot::condition(model.clone(), &task.condition(step)), step);
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
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1.0, model, gradients);
        }
        let slots = slot::collect(&model.valid());
        let slot = slots.first().ok_or("the layer has no adapter")?;
        let adapter = &slot.members[0].adapter;
        let update = adapter.update_at(&slot.site, &task.w0, 1.0);
        let rank_bound = adapter.rank_bound(&slot.site);
        Ok(Outcome {
            parameters: adapter.parameter_count(&slot.site),
            rank_bound,
            error: task.error(&model),
            // A sum of nothing is minus zero.
            floor: spectrum::truncation_error(&task.spectrum, rank_bound).abs(),
            loss: last,
            measures: Measures::of(&update, slot.site.full_rank())?,
        })
    }
}

/// The layer with its adapter; $\lVert D \rVert_F = 1$.
fn adapted(p: &Parameters, lab: &Lab) -> Result<Adapted<Regression>, Failure> {
    let (shape, device) = ([p.rows, p.cols], (&lab.device, DType::F32));
    let task = Regression::new(shape, [p.decay, 1.0], p.batch, device, p.seed)?;
    let injection = Injection::new("fit", &p.adapter).options(p.options.clone()).seed(p.seed);
    Ok(Adapted::new(&task.base(), task, &lab.adapters, &injection)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(text: &str) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::begin_anew(folder.path(), &toml::Table::new());
        let lab = Lab::new(Default::default());
        let mut parameters = toml::from_str(text).unwrap();
        Fit::resolve(&mut parameters, &lab).unwrap();
        Fit::run(&parameters, &lab, &mut run.unwrap(), &|_, _| ()).unwrap()
    }

    #[test]
    fn training_comes_to_the_best_matrix_of_its_rank_and_not_below() {
        let sizes = "rows = 8\ncols = 6\nsteps = 600";
        for rank in 1..4 {
            let found = fit(&format!("adapter = \"lora\"\noptions.rank = {rank}\n{sizes}"));
            let sizes = (found.parameters, found.rank_bound, found.measures.rank);
            assert_eq!(sizes, (14 * rank, rank, rank));
            assert!((1.0..1.05).contains(&(found.error / found.floor)), "{rank}: {found:?}");
        }
        let full = fit(&format!("adapter = \"full\"\n{sizes}"));
        assert!(full.floor == 0.0 && full.error < 0.1, "{full:?}");
        // Of a flat spectrum nothing is gained by rank; one that falls fast is of rank 1.
        let flat = fit(&format!("adapter = \"lora\"\ndecay = 0.0\noptions.rank = 3\n{sizes}"));
        assert!((flat.floor - 0.5f64.sqrt()).abs() < 1e-12, "{flat:?}");
        let steep = fit(&format!("adapter = \"lora\"\ndecay = 9.0\noptions.rank = 1\n{sizes}"));
        assert!(steep.floor < 2f64.powi(-8), "{steep:?}");
    }
}
