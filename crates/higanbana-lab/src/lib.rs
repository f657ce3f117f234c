//! Experiments: what is measured, how many runs are planned and collected, and the page that shows it.

pub mod adapters;
pub mod approximate;
pub mod chapter;
pub mod conformance;
pub mod experiment;
pub mod expressivity;
pub mod fit;
pub mod gamma;
pub mod initialisation;
pub mod measures;
pub mod minimise;
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
