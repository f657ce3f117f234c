//! The LyCORIS family of adapters: one file for each algorithm, one list of them all, their injection
//! into any Burn module, and layers on which they take a shortcut.

pub mod algorithms;
pub mod docs;
pub mod inject;
pub mod layers;
mod peft;
mod registry;
pub mod scale;

pub use inject::{InjectError, Injection, Preset, Report, Rule, attach, inject};
pub use layers::{Conv2d, Linear};
pub use registry::registry;
