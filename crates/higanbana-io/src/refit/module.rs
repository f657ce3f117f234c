//! What a module of an adapter file adapts, with its base or without.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{DynAdapter, Kind, Parts, Registry, Site, SiteKind, Tensors};

use super::RefitError;
use crate::AdapterReader;
use crate::apply::ApplyError;

/// An adapter of one parameter, read from a module.
pub(super) struct Held<'a> {
    pub kind: &'a dyn Kind,
    pub site: Site,
    pub adapter: DynAdapter,
    /// $W(1) - W_0$.
    pub update: Tensor<2>,
    /// Tensors of the module that it uses.
    pub keys: Vec<String>,
}

/// Reads the modules of a file.
pub(super) struct Modules<'a> {
    pub registry: &'a Registry,
    pub reader: &'a AdapterReader,
    pub device: &'a Device,
    pub dtype: DType,
}
