//! Algorithms as rows of a registry.

use std::{fmt::Debug, marker::PhantomData};

use burn::tensor::Tensor;
use serde::Serialize;

use crate::{
    Adapter, AdapterError, Budget, DynAdapter, Init, Outline, Parts, Site, SiteKind, Tensors,
    Variant,
};

/// [`Adapter`] as a value: what can be asked of an algorithm before an adapter exists.
pub trait Kind: Debug + Send + Sync {
    /// [`Adapter::NAME`].
    fn name(&self) -> &'static str;
    /// [`Adapter::CONVOLUTIONAL_NAME`].
    fn convolutional_name(&self) -> Option<&'static str>;
    /// [`Adapter::TITLE`].
    fn title(&self) -> &'static str;
    /// [`Adapter::REFERENCE`].
    fn reference(&self) -> &'static str;
    /// [`Adapter::FORMULA`].
    fn formula(&self) -> &'static str;
    /// [`Adapter::RANK`].
    fn rank(&self) -> &'static str;
    /// [`Adapter::PARAMETERS`].
    fn parameters(&self) -> &'static str;
    /// [`Adapter::KEYS`].
    fn keys(&self) -> &'static [&'static str];
    /// [`Adapter::SITES`].
    fn sites(&self) -> &'static [SiteKind];
    /// [`Adapter::NEEDS_BASE`].
    fn needs_base(&self) -> bool;
    /// [`Adapter::VARIANTS`].
    fn variants(&self) -> &'static [Variant];
    /// [`Adapter::detect`].
    fn detect(&self, kind: SiteKind, tensors: &Tensors) -> bool;
    /// Every option with its default; optional ones are absent.
    fn defaults(&self) -> toml::Table;
    /// [`Adapter::new`] with options as a table.
    ///
    /// # Errors
    /// When the options are unknown, ill-typed, or wrong for the site.
    fn build(
        &self,
        site: &Site,
        options: &toml::Table,
        init: &mut Init,
    ) -> Result<DynAdapter, AdapterError>;
    /// [`Adapter::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, site: &Site, parts: &Parts) -> Result<DynAdapter, AdapterError>;
    /// [`Adapter::outline`].
    fn outline(&self, kind: SiteKind, tensors: &Tensors) -> Outline;
    /// [`Adapter::fit`].
    fn fit(
        &self,
        site: &Site,
        update: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<DynAdapter, AdapterError>>;
}

/// The [`Kind`] of an [`Adapter`].
#[derive(Debug)]
struct KindOf<A>(PhantomData<fn() -> A>);

impl<A: Adapter> KindOf<A> {
    fn check(site: &Site) -> Result<(), AdapterError> {
        if A::SITES.contains(&site.kind) {
            return Ok(());
        }
        Err(AdapterError::Unsupported {
            site: site.path.clone(),
            algorithm: A::NAME.into(),
            kind: site.kind.name().into(),
        })
    }
}

impl<A: Adapter> Kind for KindOf<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn convolutional_name(&self) -> Option<&'static str> {
        A::CONVOLUTIONAL_NAME
    }
    fn title(&self) -> &'static str {
        A::TITLE
    }
    fn reference(&self) -> &'static str {
        A::REFERENCE
    }
    fn formula(&self) -> &'static str {
        A::FORMULA
    }
    fn rank(&self) -> &'static str {
        A::RANK
    }
    fn parameters(&self) -> &'static str {
        A::PARAMETERS
    }
    fn keys(&self) -> &'static [&'static str] {
        A::KEYS
    }
    fn sites(&self) -> &'static [SiteKind] {
        A::SITES
    }
    fn needs_base(&self) -> bool {
        A::NEEDS_BASE
    }
    fn variants(&self) -> &'static [Variant] {
        A::VARIANTS
    }
    fn detect(&self, kind: SiteKind, tensors: &Tensors) -> bool {
        A::detect(kind, tensors)
    }
    fn defaults(&self) -> toml::Table {
        table(&A::Config::default())
    }
    fn build(
        &self,
        site: &Site,
        options: &toml::Table,
        init: &mut Init,
    ) -> Result<DynAdapter, AdapterError> {
        Self::check(site)?;
        let config = options.clone().try_into().map_err(|error: toml::de::Error| {
            AdapterError::Config { algorithm: A::NAME.into(), reason: error.message().into() }
        })?;
        A::new(site, &config, init).map(DynAdapter::new)
    }
    fn read(&self, site: &Site, parts: &Parts) -> Result<DynAdapter, AdapterError> {
        Self::check(site)?;
        A::read(site, parts).map(DynAdapter::new)
    }
    fn outline(&self, kind: SiteKind, tensors: &Tensors) -> Outline {
        A::outline(kind, tensors)
    }
    fn fit(
        &self,
        site: &Site,
        update: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<DynAdapter, AdapterError>> {
        let numeric = |error| AdapterError::numeric(site, error);
        Some(A::fit(site, update, budget)?.map(DynAdapter::new).map_err(numeric))
    }
}

fn table(options: &impl Serialize) -> toml::Table {
    toml::Table::try_from(options).expect("options are plain values with names")
}

/// The algorithms that a program knows, in the order in which files are matched against them.
#[derive(Debug, Default)]
pub struct Registry {
    kinds: Vec<Box<dyn Kind>>,
}

impl Registry {
    /// A registry without algorithms.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds an algorithm, one of your own too. It is tried on files before those already there.
    #[must_use]
    pub fn with<A: Adapter>(mut self) -> Self {
        self.kinds.push(Box::new(KindOf::<A>(PhantomData)));
        self
    }

    /// All algorithms, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Kind> {
        self.kinds.iter().map(Box::as_ref)
    }

    /// The algorithm of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Kind> {
        self.iter().find(|kind| kind.name() == name)
    }

    /// The algorithm whose tensors these are, for a parameter of this kind. The last one added is
    /// asked first, so that a composition, which has all keys of what it is composed on, goes
    /// before it.
    pub fn detect(&self, kind: SiteKind, tensors: &Tensors) -> Option<&dyn Kind> {
        self.kinds.iter().rev().map(Box::as_ref).find(|row| row.detect(kind, tensors))
    }
}
