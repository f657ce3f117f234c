//! The LyCORIS family of adapters: one file for each algorithm, one list of them all, and their
//! injection into any Burn module.

pub mod algorithms;
mod registry;
pub mod rotation;
pub mod scale;
pub mod schedule;
pub mod singular;

pub use registry::registry;
