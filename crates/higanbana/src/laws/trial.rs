//! The layers on which laws are tried.

use std::fmt;

use burn::tensor::ops::ConvOptions;
use higanbana_core::{Condition, Kind, Op, Site, SiteKind, Variant};

/// How a convolution runs; the same along every axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Stride.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Distance between taps.
    pub dilation: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

/// One layer, and how an adapter is put on it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The parameter.
    pub site: Site,
    /// How the layer runs, where it is a convolution.
    pub geometry: Geometry,
    /// Rank, for algorithms that have one.
    pub rank: usize,
    /// $\alpha$, for algorithms that have one.
    pub alpha: f64,
    /// Strength $\mu$.
    pub strength: f64,
    /// Circumstances of the forward pass.
    pub condition: Condition,
    /// Seed of every random value.
    pub seed: u64,
}

impl Trial {
    /// A trial on a parameter of this kind and shape, with everything else at small values.
    pub fn new(kind: SiteKind, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            site: Site::new("layer", kind, shape),
            geometry: Geometry::default(),
            rank: 4,
            alpha: 1.0,
            strength: 0.7,
            condition: Condition::default(),
            seed: 1,
        }
    }

    /// The trials of the battery: every kind of parameter; convolutions with one tap and with
    /// several, with stride, padding, dilation and groups; a timestep and a prefix of the rank.
    pub fn standard() -> Vec<Self> {
        use SiteKind::{Bias, Conv1d, Conv2d, Conv3d, Linear, Norm, NormBias};
        let with = |kind, shape: &[usize], change: &dyn Fn(&mut Self)| {
            let mut trial = Self::new(kind, shape);
            change(&mut trial);
            trial
        };
        let plain = |_: &mut Self| ();
        let wide = |t: &mut Self| {
            t.geometry = Geometry { stride: 2, padding: 1, dilation: 2, groups: 1 };
            t.strength = 1.0;
        };
        let grouped = |t: &mut Self| t.geometry = Geometry { groups: 2, ..Geometry::default() };
        let noisy = |t: &mut Self| t.condition = Condition::at([600.0], 1000.0);
        let prefix = |t: &mut Self| t.condition = Condition::with_rank(2);
        vec![
            with(Linear, &[8, 6], &plain),
            with(Linear, &[6, 8], &|t| t.strength = -1.3),
            with(Linear, &[8, 6], &noisy),
            with(Linear, &[8, 6], &prefix),
            with(Conv1d, &[8, 4, 3], &plain),
            with(Conv1d, &[8, 4, 1], &plain),
            with(Conv2d, &[8, 4, 3, 2], &plain),
            with(Conv2d, &[8, 4, 3, 3], &wide),
            with(Conv2d, &[8, 4, 3, 3], &grouped),
            with(Conv2d, &[8, 6, 1, 1], &plain),
            with(Conv3d, &[8, 4, 2, 1, 3], &plain),
            with(Conv3d, &[8, 4, 1, 1, 1], &plain),
            with(Norm, &[8], &plain),
            with(NormBias, &[8], &plain),
            with(Bias, &[8], &plain),
        ]
    }

    /// The options of one set of `kind` in this trial.
    pub(super) fn options(&self, kind: &Kind, variant: Option<&Variant>) -> toml::Table {
        let named = variant.map_or("", |variant| variant.options);
        let mut options: toml::Table = named.parse().expect("a variant is written in TOML");
        let known = kind.defaults();
        for (name, value) in [
            ("rank", toml::Value::Integer(self.rank as i64)),
            ("alpha", toml::Value::Float(self.alpha)),
        ] {
            if known.contains_key(name) {
                options.entry(name).or_insert(value);
            }
        }
        options
    }

    /// What the layer does, where adapters can act on its features.
    pub(super) fn op(&self) -> Option<Op> {
        let Geometry { stride, padding, dilation, groups } = self.geometry;
        match self.site.kind {
            SiteKind::Linear => Some(Op::Linear),
            SiteKind::Conv2d => {
                Some(Op::Conv2d(ConvOptions::new([stride; 2], [padding; 2], [dilation; 2], groups)))
            }
            _ => None,
        }
    }

    /// Input channels, of all groups.
    pub(super) fn channels(&self) -> usize {
        self.site.input() * self.geometry.groups
    }

    /// Size of a small input along each axis of the kernel.
    pub(super) fn extent(&self) -> Vec<usize> {
        self.site.kernel().iter().map(|taps| (taps - 1) * self.geometry.dilation + 3).collect()
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, geometry, rank, alpha, strength, condition, seed } = self;
        write!(f, "{} {:?}", site.kind.name(), site.shape)?;
        if *geometry != Geometry::default() {
            let Geometry { stride, padding, dilation, groups } = geometry;
            write!(f, " (stride {stride}, padding {padding}, dilation {dilation}")?;
            write!(f, ", groups {groups})")?;
        }
        write!(f, ", rank {rank}, alpha {alpha}, strength {strength}, seed {seed}")?;
        if *condition != Condition::default() {
            write!(f, ", {condition:?}")?;
        }
        Ok(())
    }
}
