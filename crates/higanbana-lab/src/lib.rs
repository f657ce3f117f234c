//! Experiments: what is measured, how many runs are planned and collected, and the page that shows it.

pub mod adapters;
pub mod approximate;
pub mod chapter;
pub mod compare;
pub mod conformance;
pub mod experiment;
pub mod expressivity;
pub mod findings;
pub mod fit;
pub mod forms;
pub mod gamma;
pub mod initialisation;
pub mod measures;
pub mod minimise;
pub mod numbers;
pub mod panics;
pub mod parallel;
pub mod plot;
pub mod rank;
mod regression;
pub mod report;
pub mod spectra;
pub mod study;
pub mod subject;
pub mod survey;
pub mod sweep;
pub mod training;

use burn::tensor::Device;
use higanbana_train::Optimizers;

use crate::experiment::{Experiments, Lab};

impl Lab {
    /// Every adapter, optimizer and experiment of the toolkit. Those of your own come on top by
    /// [`Registry::with`](higanbana_core::Registry::with), [`Optimizers::with`] and [`Experiments::with`].
    pub fn new(device: Device) -> Self {
        let experiments = Experiments::default()
            .with::<fit::Fit>()
            .with::<gamma::Theorem>()
            .with::<rank::Rank>()
            .with::<expressivity::Expressivity>()
            .with::<spectra::Spectra>()
            .with::<initialisation::Initialisation>();
        let (adapters, optimizers) = (higanbana_adapters::registry(), Optimizers::default());
        Self { adapters, optimizers, experiments, device }
    }
}
