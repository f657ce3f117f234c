use burn::tensor::Tensor;
use higanbana_core::{Call, Condition, DynAdapter, Features};

use super::{
    Law, Subject,
    measure::{deviation, exceeds, flat, values},
};

/// Training timesteps $T$, and those of the samples of the batch.
const HORIZON: f64 = 1000.0;
const TIMESTEPS: [f64; 3] = [950.0, 500.0, 20.0];

/// With a timestep for each sample, sample $i$ of the shortcut is the shortcut of sample $i$.
pub(super) const LAW: Law = Law {
    name: "samples",
    statement: "each sample of a batch is acted on at its own timestep, as if it were alone",
    check,
};

type Path = fn(&DynAdapter, &Call) -> Option<Features>;

fn check(subject: &Subject) -> Result<(), String> {
    let Some(op) = subject.trial.op() else { return Ok(()) };
    let x = subject.features(&op);
    let act = |path: Path, x: &Features, timesteps: &[f64]| {
        let mut adapter = subject.trained.clone();
        adapter.condition(&Condition::at(timesteps, HORIZON));
        path(&adapter, &subject.call(&subject.w0, x, &op)).map(|y| values(&flat(&y)))
    };
    let added: Path = |adapter, call| adapter.added(call, &call.apply(call.w0.clone()));
    let forward: Path = |adapter, call| adapter.forward(call);
    for (name, path) in [("added", added), ("forward", forward)] {
        let Some(together) = act(path, &x, &TIMESTEPS) else { continue };
        let alone = TIMESTEPS.iter().enumerate().map(|(i, t)| act(path, &sample(&x, i), &[*t]));
        let alone: Vec<f64> = alone.flatten().flatten().collect();
        let error = deviation(&together, &alone);
        if exceeds(error, subject.tolerance()) {
            return Err(format!(
                "`{name}` of a batch departs from that of its samples by {error:e}"
            ));
        }
    }
    Ok(())
}

fn sample(x: &Features, index: usize) -> Features {
    match x {
        Features::Rows { x, batch } => {
            let rows = x.dims()[0] / batch;
            Features::Rows { x: part(x, index * rows, rows), batch: 1 }
        }
        Features::Maps(x) => Features::Maps(part(x, index, 1)),
    }
}

fn part<const D: usize>(x: &Tensor<D>, start: usize, length: usize) -> Tensor<D> {
    x.clone().narrow(0, start, length)
}
