//! Experiments: what is measured, and the page that shows it.

pub mod adapters;
pub mod gamma;
pub mod report;
