//! The adapters that experiments compare: every algorithm of a registry, at many sizes.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{DynAdapter, Init, Kind, Registry, Site, SiteKind, nearest};

use crate::experiment::Failure;

/// Options that set how large an adapter is, and what they are tried at. What an algorithm does not have is
/// left out; what it cannot build is passed over.
const RANKS: &[usize] = &[1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64];
const FACTORS: &[i64] = &[-1, 2, 4, 8, 16];

/// The algorithm that a label begins with: `lora` of `lora`, of `lora+dora` and of `lora:tucker`.
pub fn family(label: &str) -> &str {
    label.split(['+', ':']).next().unwrap_or(label)
}

/// An algorithm with a set of options.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Name: `algorithm`, or `algorithm:set`.
    pub label: String,
    /// The algorithm.
    pub kind: &'a Kind,
    /// What differs from its defaults.
    pub options: toml::Table,
}

impl<'a> Subject<'a> {
    /// Every algorithm of a registry; with `sets`, also with every set of options that it names.
    pub fn all(registry: &'a Registry, sets: bool) -> Vec<Self> {
        let of = |kind: &'a Kind| {
            let plain = Self { label: kind.name().into(), kind, options: toml::Table::new() };
            let named = kind.variants().iter().filter(move |_| sets).map(move |set| Self {
                label: format!("{}:{}", kind.name(), set.name),
                kind,
                options: set.options.parse().expect("a variant is written in TOML"),
            });
            std::iter::once(plain).chain(named)
        };
        registry.iter().flat_map(of).collect()
    }

    /// The one of this label.
    ///
    /// # Errors
    /// The known ones, nearest first, when there is none.
    pub fn named(registry: &'a Registry, label: &str) -> Result<Self, Failure> {
        let all = Self::all(registry, true);
        let labels = all.iter().map(|subject| subject.label.as_str());
        let known = nearest(label, labels, usize::MAX).join(", ");
        let found = all.iter().find(|subject| subject.label == label);
        Ok(found.cloned().ok_or_else(|| format!("unknown adapter `{label}`: there are {known}"))?)
    }

    /// Whether it adapts such a parameter.
    pub fn fits(&self, site: &Site) -> bool {
        self.kind.sites().contains(&site.kind)
    }

    /// Whether it has an option of this name that its set leaves open.
    pub fn has(&self, option: &str) -> bool {
        self.kind.defaults().contains_key(option) && !self.options.contains_key(option)
    }

    /// The same with another option.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Into<toml::Value>) -> Self {
        self.options.insert(option.into(), value.into());
        self
    }

    /// The same of this rank, if it has one; whatever the rank, its scale is 1 where `alpha` sets it.
    #[must_use]
    pub fn of_rank(&self, rank: usize) -> Self {
        let rank = i64::try_from(rank).unwrap_or(i64::MAX);
        let mut sized = self.clone();
        if self.has("rank") {
            sized = sized.with("rank", rank);
        }
        if self.has("block_size") {
            sized = sized.with("block_size", 1);
        }
        // An alpha of 0 stands for the rank.
        if self.has("alpha") { sized.with("alpha", 0.0) } else { sized }
    }

    /// An adapter for `site`; a refusal of the options is none.
    pub fn build(&self, site: &Site, w0: &Tensor<2>, seed: u64) -> Option<DynAdapter> {
        self.kind.build(site, &self.options, &mut Init::new(site, w0.clone(), seed)).ok()
    }

    /// The largest sizes within a budget of parameters, one for each way to factorise, with their parameter counts;
    /// the smallest there is where none is within.
    pub fn within(&self, budget: usize, site: &Site, w0: &Tensor<2>) -> Vec<(usize, Self)> {
        let factors = if self.has("factor") { FACTORS } else { &[-1] };
        let of_factor = |&factor: &i64| self.sizes(factor, site, w0);
        let ways: Vec<Vec<(usize, Self)>> = factors.iter().map(of_factor).collect();
        let count = |size: &&(usize, Self)| size.0;
        let fitting = ways
            .iter()
            .filter_map(|way| way.iter().filter(|size| size.0 <= budget).max_by_key(count));
        let mut within: Vec<(usize, Self)> = fitting.cloned().collect();
        if within.is_empty() {
            within.extend(ways.iter().flatten().min_by_key(count).cloned());
        }
        within
    }

    /// Every size that the algorithm can be built in for `site` with this factor, with its parameter count.
    fn sizes(&self, factor: i64, site: &Site, w0: &Tensor<2>) -> Vec<(usize, Self)> {
        let ranks = if self.has("rank") { RANKS } else { &RANKS[..1] };
        let size = |&rank: &usize| {
            let sized = self.of_rank(rank);
            let sized = if self.has("factor") { sized.with("factor", factor) } else { sized };
            let parameters = sized.build(site, w0, 0)?.parameter_count(site);
            Some((parameters, sized))
        };
        ranks.iter().filter_map(size).collect()
    }

    /// What of its size is not the default, in words: `rank 4, factor 8`.
    pub fn size(&self) -> String {
        let said = |option: &str| {
            let value = self.options.get(option)?;
            let default = option != "rank" && self.kind.defaults().get(option) == Some(value);
            (!default).then(|| format!("{option} {value}"))
        };
        ["rank", "factor"].into_iter().filter_map(said).collect::<Vec<_>>().join(", ")
    }
}

/// A weight of this shape, and a random base for it with entries of variance 1/(in·K).
///
/// # Errors
/// When no layer has such a weight.
pub fn layer(shape: &[usize], device: &Device, seed: u64) -> Result<(Site, Tensor<2>), Failure> {
    let kind =
        SiteKind::of_rank(shape.len()).filter(|kind| !kind.is_vector() && !shape.contains(&0));
    let kind = kind.ok_or_else(|| format!("no layer has a weight of shape {shape:?}"))?;
    let site = Site::new("layer", kind, shape);
    let std = (site.cols() as f64).sqrt().recip();
    let w0 = stream("base", device, seed).normal([site.out(), site.cols()], std);
    Ok((site, w0))
}

/// Seeded numbers in `f64`; each name has its own.
pub fn stream(name: &str, device: &Device, seed: u64) -> Init {
    stream_of(name, device, DType::F64, seed)
}

/// Seeded numbers of an element type.
pub fn stream_of(name: &str, device: &Device, dtype: DType, seed: u64) -> Init {
    let like = Tensor::zeros([1, 1], (device, dtype));
    Init::new(&Site::new(format!("lab.{name}"), SiteKind::Linear, [1, 1]), like, seed)
}
