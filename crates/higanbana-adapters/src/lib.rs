//! The LyCORIS family of adapters: one file for each algorithm, one list of them all, and their
//! injection into any Burn module.

pub mod algorithms;
mod groups;
mod registry;
pub mod scale;

pub use registry::registry;
