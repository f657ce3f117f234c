//! Experiments: what is measured, and the page that shows it.

pub mod adapters;
mod chart;
pub mod conformance;
pub mod gamma;
pub mod report;
