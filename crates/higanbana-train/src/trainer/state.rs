//! The state of a training, from step to step and from process to process.

use burn::store::RecordError;
use higanbana_io::run::Run;

use super::Trainer;
use crate::{
    TrainError,
    checkpoint::Checkpoint,
    feed::Feed,
    weights::{self, Weights},
};

impl Trainer<'_> {
    /// Takes up the last checkpoint; gives its step.
    pub(super) fn resume(&mut self, run: &mut Run) -> Result<Option<usize>, TrainError> {
        let folder = run.checkpoints();
        let Some(checkpoint) = Checkpoint::last(run.files())? else {
            run.rewind(0)?;
            return Ok(None);
        };
        let Checkpoint { step, batches, lines, images, weights, average, optimizer } = checkpoint;
        let known = weights::read(&self.network);
        let shapes = |of: &Weights| -> Vec<_> {
            of.iter().map(|(path, data)| (path.clone(), data.shape().clone())).collect()
        };
        let wrong = |reason: &str| {
            Err(TrainError::Checkpoint { path: folder.clone(), reason: reason.into() })
        };
        if shapes(&known) != shapes(&weights) {
            return wrong("is of another model; --overwrite begins anew");
        }
        if step > self.steps {
            let reason = format!("is at step {step} of {}; --overwrite begins anew", self.steps);
            return wrong(&reason);
        }
        if images != self.images() {
            return wrong("is of other images or captions; --overwrite begins anew");
        }
        self.network = weights::write(self.network.clone(), &weights);
        self.average = average.or(self.average.take());
        let unreadable = |error: RecordError| TrainError::Checkpoint {
            path: folder.clone(),
            reason: error.to_string(),
        };
        self.optimizer = self.optimizer.clone().restored(optimizer).map_err(unreadable)?;
        self.step = step;
        // Earlier versions had as many in every step.
        let each = self.recipe.train.accumulation;
        self.seen = batches.unwrap_or(step * each);
        // A run that goes on to more epochs may have had a short step at its old end.
        self.steps = step + self.batches.saturating_sub(self.seen).div_ceil(each);
        run.rewind(lines)?;
        Ok(Some(step))
    }

    pub(super) fn checkpoint(&self, run: &Run) -> Result<Checkpoint, TrainError> {
        let unwritable = |error: RecordError| TrainError::Checkpoint {
            path: run.folder().into(),
            reason: error.to_string(),
        };
        Ok(Checkpoint {
            step: self.step,
            batches: Some(self.seen),
            lines: run.metrics()?.len(),
            images: self.images(),
            weights: weights::read(&self.network),
            average: self.average.clone(),
            optimizer: self.optimizer.state().map_err(unwritable)?,
        })
    }

    /// What all images and captions come to.
    fn images(&self) -> String {
        let feeds = [Some(&self.feed), self.held_out.as_ref()];
        let each = feeds.into_iter().flatten().flat_map(Feed::identity);
        each.map(|byte| format!("{byte:02x}")).collect()
    }

    /// Keeps the state before a step that failed, where it is whole. Says what there is.
    pub(super) fn keep_last_good(
        &self,
        run: &mut Run,
        last: Option<usize>,
    ) -> Result<String, TrainError> {
        let folder = run.checkpoints();
        let checkpoint = self.checkpoint(run)?;
        if weights::first_not_finite(&checkpoint.weights).is_none() && self.step > 0 {
            checkpoint.save(run.files(), self.recipe.train.keep)?;
            return Ok(format!("the state of step {} is kept in {}", self.step, folder.display()));
        }
        Ok(match last {
            Some(step) => format!("the state of step {step} is kept in {}", folder.display()),
            None => "no step before it was whole".into(),
        })
    }
}
