//! One cell of the table as an experiment of its own, for grids beyond that of the chapter.

use burn::tensor::DType;
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};

use super::{Answer, Question, Start, Subject, check, rule_among};
use crate::experiment::{Experiment, Failure, Lab, Progress};

/// Experiment `theorem`: is training with $\gamma$ the same as training without it?
#[derive(Debug)]
pub struct Theorem;

/// What one run of it depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Name of the adapter, with a set of options behind a colon.
    pub adapter: String,
    /// Name of the optimizer.
    pub optimizer: String,
    /// $\gamma$; by default the one that a factor of 1/4 for every tensor replaces.
    pub gamma: Option<f64>,
    /// Element type.
    #[serde(default)]
    pub dtype: Float,
    /// Number of steps.
    #[serde(default = "steps")]
    pub steps: usize,
    /// Seed of the network, the adapter and the batches.
    #[serde(default)]
    pub seed: u64,
    /// From which values adapters start.
    #[serde(default)]
    pub start: Start,
}

/// Element type of the trainings.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// Single precision.
    F32,
    /// Double precision.
    #[default]
    F64,
}

impl Float {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

fn steps() -> usize {
    200
}

impl Experiment for Theorem {
    const NAME: &'static str = "theorem";
    const TITLE: &'static str = "Training with gamma and without, and with each rule broken";
    type Parameters = Parameters;
    type Outcome = Answer;

    fn resolve(p: &mut Parameters, lab: &Lab) -> Result<(), Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        rule_among(&lab.optimizers, &p.optimizer)?;
        if p.gamma.is_none() {
            p.gamma = Some(subject.dyadic_gamma(&lab.adapters)?);
        }
        if p.steps == 0 {
            return Err("`steps` is 0".into());
        }
        Ok(check(p.gamma.unwrap_or_default(), p.dtype.dtype())?)
    }

    fn run(p: &Parameters, lab: &Lab, _: &mut Run, _: Progress) -> Result<Answer, Failure> {
        let subject = Subject::named(&lab.adapters, &p.adapter)?;
        let gamma = match p.gamma {
            Some(gamma) => gamma,
            None => subject.dyadic_gamma(&lab.adapters)?,
        };
        let question = Question {
            dtype: p.dtype.dtype(),
            steps: p.steps,
            seed: p.seed,
            start: p.start,
            controls: true,
            alpha: true,
            ..Question::new(&subject, rule_among(&lab.optimizers, &p.optimizer)?, gamma)
        };
        Ok(question.answer(&lab.adapters, &lab.device)?)
    }
}
