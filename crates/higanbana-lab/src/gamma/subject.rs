//! The adapters that are trained.

use burn::tensor::{DType, Device};
use higanbana_adapters::{InjectError, Injection, inject};
use higanbana_core::{Degree, Kind, Registry, Variant, device::cpu, nearest};
use higanbana_train::Rule;

use super::{
    GammaError,
    mlp::{Imitation, Mlp, WIDTHS},
    task::{Adapted, total},
    unet::{Denoising, unet},
};
use crate::panics::caught;

/// An algorithm with a set of options.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Name: `lokr`, or `lokr:full_matrix` with a set of options.
    pub label: String,
    algorithm: String,
    pub(super) options: toml::Table,
    /// Layers that have other options; every one is named, or none is.
    pub(super) rules: Vec<inject::Rule>,
    /// Whether it needs a kernel of several taps.
    convolution: bool,
}

/// Why an adapter cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Nothing has this name.
    #[error("unknown {what} `{name}`: there are {known}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
        /// The known ones, nearest first.
        known: String,
    },
    /// The optimizer scales in no way.
    #[error("{name}: {reason}")]
    NoRule {
        /// The optimizer.
        name: String,
        /// Why.
        reason: String,
    },
    /// The adapter cannot be put into the network.
    #[error(transparent)]
    Inject(#[from] InjectError),
}

impl SubjectError {
    pub(super) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known = nearest(name, known, usize::MAX).join(", ");
        Self::Unknown { what, name: name.into(), known }
    }
}

impl Subject {
    /// Every algorithm of a registry with its default options, and with every set of them.
    pub fn all(registry: &Registry) -> Vec<Self> {
        let sets = |kind: &Kind| -> Vec<Self> {
            let variants = kind.variants().iter().map(Some);
            std::iter::once(None).chain(variants).map(|set| Self::new(kind, set)).collect()
        };
        registry.iter().flat_map(sets).collect()
    }

    /// The one of this label.
    ///
    /// # Errors
    /// The known ones, nearest first, when there is none.
    pub fn named(registry: &Registry, label: &str) -> Result<Self, SubjectError> {
        let all = Self::all(registry);
        let found = all.iter().find(|subject| subject.label == label).cloned();
        let labels = all.iter().map(|subject| subject.label.as_str());
        found.ok_or_else(|| SubjectError::unknown("adapter", label, labels))
    }

    /// The same at another rank, if it has one.
    #[must_use]
    pub fn of_rank(mut self, rank: u32) -> Self {
        for (option, value) in [("rank", i64::from(rank).into()), ("alpha", f64::from(rank).into())]
        {
            if let Some(known) = self.options.get_mut(option) {
                *known = value;
            }
        }
        self
    }

    /// Whether this is a set of options beside the default ones.
    pub fn is_variant(&self) -> bool {
        self.label.contains(':')
    }

    /// Homogeneity of the adapter.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn homogeneity(&self, registry: &Registry) -> Result<Degree, SubjectError> {
        let net = self.mlp(registry, WIDTHS, &cpu(), DType::F32, 0)?;
        Ok(net.degrees().swap_remove(0))
    }

    /// Degree $m$ of the map that $\gamma$ multiplies; 1 where there is no such map.
    ///
    /// # Errors
    /// When the adapter cannot be built.
    pub fn degree(&self, registry: &Registry) -> Result<u32, SubjectError> {
        Ok(total(&self.homogeneity(registry)?))
    }

    /// $\gamma = 4^{-m}$: a factor of 1/4 replaces it, under which numbers are rounded as before.
    ///
    /// # Errors
    /// When the adapter cannot be built.
    pub fn dyadic_gamma(&self, registry: &Registry) -> Result<f64, SubjectError> {
        Ok(0.25f64.powi(self.degree(registry)? as i32))
    }

    /// Work with this adapter and an optimizer, whose code may be anyone's: a panic is an error of theirs.
    ///
    /// # Errors
    /// Those of the work, and the panic.
    pub fn guarded<R>(
        &self,
        rule: &Rule,
        work: impl FnOnce() -> Result<R, GammaError>,
    ) -> Result<R, GammaError> {
        let adapter = self.label.clone();
        let panicked = |panic| GammaError::Panicked { adapter, optimizer: rule.name, panic };
        caught(work).map_err(panicked)?
    }

    /// A cell of this adapter of which the theorem says nothing.
    pub fn outside(&self, optimizer: &str, reason: String) -> GammaError {
        GammaError::Outside { adapter: self.label.clone(), optimizer: optimizer.into(), reason }
    }

    /// Whether the algorithm has an option of this name.
    pub fn has_option(&self, registry: &Registry, name: &str) -> bool {
        registry.get(&self.algorithm).is_some_and(|kind| kind.defaults().contains_key(name))
    }

    fn new(kind: &Kind, variant: Option<&Variant>) -> Self {
        let name = kind.name();
        let named = variant.map_or("", |variant| variant.options);
        let mut options: toml::Table = named.parse().expect("a variant is written in TOML");
        let known = kind.defaults();
        // Small enough for every layer of the network, and α/r = 1.
        for (option, value) in
            [("rank", toml::Value::Integer(2)), ("alpha", 2.0.into()), ("block_size", 1.into())]
        {
            if known.contains_key(option) {
                options.entry(option).or_insert(value);
            }
        }
        Self {
            label: match variant {
                None => name.into(),
                Some(variant) => format!("{name}:{}", variant.name),
            },
            algorithm: name.into(),
            convolution: options.contains_key("use_tucker"),
            options,
            rules: Vec::new(),
        }
    }

    /// The small network with this adapter wherever it fits.
    ///
    /// # Errors
    /// When it cannot be built.
    pub(super) fn mlp(
        &self,
        registry: &Registry,
        widths: [usize; 3],
        device: &Device,
        dtype: DType,
        seed: u64,
    ) -> Result<Adapted<Imitation>, SubjectError> {
        let base = Mlp::new(self.convolution, widths, device, dtype, seed);
        let task = Imitation::new(&base, seed);
        Ok(Adapted::new(&base, task, registry, &self.injection(seed))?)
    }

    /// The UNet, the same.
    ///
    /// # Errors
    /// When it cannot be built.
    pub(super) fn unet(
        &self,
        registry: &Registry,
        device: &Device,
        dtype: DType,
        seed: u64,
    ) -> Result<Adapted<Denoising>, SubjectError> {
        let base = unet(device, dtype, seed);
        let task = Denoising::new(&base, device, dtype, seed);
        Ok(Adapted::new(&base, task, registry, &self.injection(seed))?)
    }

    fn injection(&self, seed: u64) -> Injection {
        let injection = Injection::new("gamma", &self.algorithm).options(self.options.clone());
        Injection { rules: self.rules.clone(), ..injection.seed(seed) }
    }
}
