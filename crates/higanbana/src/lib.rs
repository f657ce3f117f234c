//! Higanbana: a tensor-algebra research toolkit on Burn.
//!
//! The LyCORIS family of adapters on any Burn module, true to the files that the field exchanges.
//! This crate re-exports the others; `use higanbana::prelude::*` brings what a program needs.

pub use higanbana_adapters as adapters;
pub use higanbana_core as core;
pub use higanbana_diffusion as diffusion;
pub use higanbana_io as io;
pub use higanbana_lab as lab;
pub use higanbana_train as train;

pub mod laws;

/// What a program that adapts a model needs.
pub mod prelude {
    pub use higanbana_adapters::{Injection, Preset, Report, Rule, attach, inject, registry};
    pub use higanbana_core::{
        Adapter, AdapterError, Call, Condition, Cost, Degree, DynAdapter, Features, Init, Kind,
        Member, NoOptions, Parts, PathChoice, Registry, Site, SiteKind, Slot, Tensors, Variant,
        algebra, spectrum,
    };
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
