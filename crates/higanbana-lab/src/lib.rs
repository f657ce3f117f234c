//! Experiments: what is measured, how many runs are planned and collected, and the page that shows it.

pub mod adapters;
mod chart;
pub mod experiment;
pub mod fit;
pub mod gamma;
pub mod report;
