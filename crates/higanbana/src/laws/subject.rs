//! An adapter on a layer, as laws see it.

use std::fmt;

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{
    AdapterError, Call, DynAdapter, Features, Init, Kind, Op, Parts, Registry, Site, SiteKind,
    Tensors, Variant, trained,
};

use super::{Trial, Violation, coverage, measure::values, operations::Operations};

/// Samples of a batch, and rows of each.
const BATCH: usize = 3;
const ROWS: usize = 2;

/// One adapter of one algorithm with one set of options, in one trial.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The algorithms among which its files are recognised.
    pub registry: &'a Registry,
    /// The algorithm.
    pub kind: &'a Kind,
    /// The set of options; `None` for the defaults.
    pub variant: Option<&'static Variant>,
    /// The layer and its circumstances.
    pub trial: &'a Trial,
    /// The frozen weight `[out, in·K]`.
    pub w0: Tensor<2>,
    /// The adapter as it is built.
    pub fresh: DynAdapter,
    /// The same with normal noise on every trained value.
    pub trained: DynAdapter,
    pub(super) operations: Operations,
}

impl<'a> Subject<'a> {
    /// Builds the adapter.
    ///
    /// # Errors
    /// When the constructor refuses.
    pub fn new(
        registry: &'a Registry,
        kind: &'a Kind,
        variant: Option<&'static Variant>,
        trial: &'a Trial,
        (device, dtype): (&Device, DType),
    ) -> Result<Self, AdapterError> {
        let site = &trial.site;
        let like = Tensor::zeros([1, 1], (device, dtype));
        let w0 = draw(&like, "weight", trial.seed, [site.out(), site.cols()]);
        let mut init = Init::new(site, w0.clone(), trial.seed);
        let mut fresh = kind.build(site, &trial.options(kind, variant), &mut init)?;
        fresh.condition(&trial.condition);
        let mut noise = Init::new(&stream("noise"), like, trial.seed);
        let trained = trained::map(fresh.clone(), |_, value| {
            let noise = values(&noise.normal([value.len()], 0.3));
            value.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
        });
        let operations = Operations::default();
        Ok(Self { registry, kind, variant, trial, w0, fresh, trained, operations })
    }

    /// The subjects of every algorithm and set of options that fits a trial. Options that make no
    /// sense for its layer are passed over; anything else that keeps an adapter from being built is
    /// a violation.
    pub fn all(
        registry: &'a Registry,
        trial: &'a Trial,
        device: &Device,
        dtype: DType,
    ) -> impl Iterator<Item = Result<Self, Violation>> {
        let sets = |kind| Self::sets(kind, trial).map(move |variant| (kind, variant));
        registry.iter().flat_map(sets).filter_map(move |(kind, variant)| {
            match Self::new(registry, kind, variant, trial, (device, dtype)) {
                Ok(subject) => Some(Ok(subject)),
                Err(AdapterError::Option { .. }) => None,
                Err(error) => {
                    let subject = format!("{}:{} on a {trial}", kind.name(), set(variant));
                    Some(Err(coverage::LAW.violation(subject, error.to_string())))
                }
            }
        })
    }

    /// The sets of options of an algorithm; none where it does not adapt the parameter of a trial.
    pub(super) fn sets(
        kind: &Kind,
        trial: &Trial,
    ) -> impl Iterator<Item = Option<&'static Variant>> {
        let adapts = kind.sites().contains(&trial.site.kind);
        let sets = std::iter::once(None).chain(kind.variants().iter().map(Some));
        sets.filter(move |_| adapts)
    }

    /// The parameter.
    pub fn site(&self) -> &Site {
        &self.trial.site
    }

    /// $W(\mu) - W_0$ at the trial's strength.
    pub fn update(&self, adapter: &DynAdapter) -> Tensor<2> {
        adapter.update_at(self.site(), &self.w0, self.trial.strength)
    }

    /// Machine epsilon of the subject's element type.
    pub fn epsilon(&self) -> f64 {
        match self.w0.dtype() {
            DType::F64 => f64::EPSILON,
            _ => f64::from(f32::EPSILON),
        }
    }

    /// Relative difference up to which two ways of computing the same are equal.
    pub fn tolerance(&self) -> f64 {
        1e3 * self.epsilon()
    }

    /// Standard normal numbers; each `name` has its own.
    pub fn normal<const D: usize>(&self, name: &str, shape: [usize; D]) -> Tensor<D> {
        draw(&self.w0, name, self.trial.seed, shape)
    }

    /// A batch of input features.
    pub(super) fn features(&self, op: &Op) -> Features {
        let channels = self.trial.channels();
        match op {
            Op::Linear => {
                Features::Rows { x: self.normal("x", [BATCH * ROWS, channels]), batch: BATCH }
            }
            Op::Conv2d(_) => {
                let extent = self.trial.extent();
                Features::Maps(self.normal("x", [BATCH, channels, extent[0], extent[1]]))
            }
        }
    }

    /// A forward call at the trial's strength.
    pub(super) fn call<'c>(&'c self, w0: &'c Tensor<2>, x: &'c Features, op: &'c Op) -> Call<'c> {
        Call { site: self.site(), w0, x, op, strength: self.trial.strength }
    }

    /// Reads tensors of a file as an adapter of `kind` on `site`, with what they leave unread.
    pub(super) fn read(
        &self,
        kind: &Kind,
        site: &Site,
        tensors: &Tensors,
    ) -> Result<(DynAdapter, Vec<String>), AdapterError> {
        let parts = Parts::new("layer", tensors, &self.w0.device(), self.w0.dtype());
        let parts = parts.with_base(&self.w0);
        let mut adapter = kind.read(site, &parts)?;
        adapter.condition(&self.trial.condition);
        Ok((adapter, parts.unused().into_iter().map(String::from).collect()))
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} on a {}", self.kind.name(), set(self.variant), self.trial)
    }
}

fn set(variant: Option<&Variant>) -> &'static str {
    variant.map_or("defaults", |variant| variant.name)
}

fn draw<const D: usize>(like: &Tensor<2>, name: &str, seed: u64, shape: [usize; D]) -> Tensor<D> {
    Init::new(&stream(name), like.clone(), seed).normal(shape, 1.0)
}

/// A site that stands for a stream of random numbers: they depend on its path.
fn stream(name: &str) -> Site {
    Site::new(format!("laws.{name}"), SiteKind::Linear, [1, 1])
}
