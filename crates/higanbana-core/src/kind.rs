//! Algorithms as rows of a registry.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::{
    Adapter, AdapterError, Budget, Degree, DynAdapter, Glimpse, Init, Outline, Parts, PeftForm,
    Site, SiteKind, Tensors, Training, Variant, device::cpu, spectrum::SpectrumError,
};

/// The constants of [`Adapter`], each a field and a method of [`Kind`].
macro_rules! kind {
    ($($name:ident $constant:ident $type:ty;)*) => {
        /// [`Adapter`] as a value: what can be asked of an algorithm before an adapter exists.
        #[derive(Debug)]
        pub struct Kind {
            $($name: $type,)*
            detect: fn(SiteKind, &Tensors) -> bool,
            defaults: fn() -> toml::Table,
            parse: fn(&toml::Table) -> Result<(), AdapterError>,
            build: fn(&Site, &toml::Table, &mut Init) -> Result<DynAdapter, AdapterError>,
            read: fn(&Site, &Parts) -> Result<DynAdapter, AdapterError>,
            outline: fn(SiteKind, &Tensors) -> Outline,
            assumption: fn(&Glimpse) -> Option<&'static str>,
            fit: fn(&Site, &Tensor<2>, Budget) -> Option<Result<DynAdapter, SpectrumError>>,
        }

        impl Kind {
            /// The row of an algorithm.
            pub fn of<A: Adapter>() -> Self {
                Self {
                    $($name: A::$constant,)*
                    detect: A::detect,
                    defaults: || table(&A::Config::default()),
                    parse: |options| config::<A>(options).map(drop),
                    build: |site, options, init| {
                        A::new(site, &config::<A>(options)?, init).map(DynAdapter::new)
                    },
                    read: |site, parts| A::read(site, parts).map(DynAdapter::new),
                    outline: A::outline,
                    assumption: A::assumption,
                    fit: |site, update, budget| {
                        Some(A::fit(site, update, budget)?.map(DynAdapter::new))
                    },
                }
            }

            $(
                #[doc = concat!("[`Adapter::", stringify!($constant), "`].")]
                pub fn $name(&self) -> $type {
                    self.$name
                }
            )*
        }
    };
}

kind! {
    name NAME &'static str;
    convolutional_name CONVOLUTIONAL_NAME Option<&'static str>;
    title TITLE &'static str;
    reference REFERENCE &'static str;
    formula FORMULA &'static str;
    rank RANK &'static str;
    parameters PARAMETERS &'static str;
    keys KEYS &'static [&'static str];
    sites SITES &'static [SiteKind];
    needs_base NEEDS_BASE bool;
    fitted FITTED Option<&'static str>;
    fitted_locally FITTED_LOCALLY bool;
    arguments ARGUMENTS &'static [(&'static str, &'static str)];
    variants VARIANTS &'static [Variant];
    peft PEFT Option<&'static dyn PeftForm>;
}

impl Kind {
    /// [`Adapter::detect`].
    pub fn detect(&self, kind: SiteKind, tensors: &Tensors) -> bool {
        (self.detect)(kind, tensors)
    }

    /// Every option with its default; optional ones are absent.
    pub fn defaults(&self) -> toml::Table {
        (self.defaults)()
    }

    /// Takes options apart into the algorithm's own and those of [`Training`], and checks them as far as
    /// that needs no site.
    ///
    /// # Errors
    /// When one is unknown, of the wrong type or out of range, or when it means nothing for the
    /// algorithm: a bound on the norm of an update that no scale of its tensors scales.
    pub fn parse(&self, options: &toml::Table) -> Result<(toml::Table, Training), AdapterError> {
        let mut own = options.clone();
        let training = Training::split(self.name, &mut own)?;
        (self.parse)(&own)?;
        if training.max_norm.is_some() && self.degree()?.total().is_none() {
            let reason = "max_norm scales the tensors of an update that has a degree, which this one \
                          has not; leave it out";
            return Err(AdapterError::Config {
                algorithm: self.name.into(),
                reason: reason.into(),
            });
        }
        Ok((own, training))
    }

    /// [`Adapter::degree`] with the default options, on an example: a layer 128 → 16.
    ///
    /// # Errors
    /// When the algorithm has no place there.
    pub fn degree(&self) -> Result<Degree, AdapterError> {
        let shape = if self.sites[0].is_vector() { vec![16] } else { vec![16, 128] };
        let site = Site::new("example", self.sites[0], shape);
        let weight = Tensor::ones([site.out(), site.cols()], &cpu());
        let adapter = self.build(&site, &toml::Table::new(), &mut Init::new(&site, weight, 0))?;
        Ok(adapter.degree())
    }

    /// [`Adapter::new`] with options as a table.
    ///
    /// # Errors
    /// When the options are unknown, ill-typed, or wrong for the site.
    pub fn build(
        &self,
        site: &Site,
        options: &toml::Table,
        init: &mut Init,
    ) -> Result<DynAdapter, AdapterError> {
        self.check(site)?;
        (self.build)(site, options, init)
    }

    /// [`Adapter::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, site: &Site, parts: &Parts) -> Result<DynAdapter, AdapterError> {
        self.check(site)?;
        (self.read)(site, parts)
    }

    /// [`Adapter::outline`].
    pub fn outline(&self, kind: SiteKind, tensors: &Tensors) -> Outline {
        (self.outline)(kind, tensors)
    }

    /// [`Adapter::assumption`].
    pub fn assumption(&self, module: &Glimpse) -> Option<&'static str> {
        (self.assumption)(module)
    }

    /// [`Adapter::fit`].
    pub fn fit(
        &self,
        site: &Site,
        update: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<DynAdapter, AdapterError>> {
        let fitted = (self.fit)(site, update, budget)?;
        Some(fitted.map_err(|error| AdapterError::numeric(site, error)))
    }

    fn check(&self, site: &Site) -> Result<(), AdapterError> {
        if self.sites.contains(&site.kind) {
            return Ok(());
        }
        Err(AdapterError::Unsupported {
            site: site.path.clone(),
            algorithm: self.name.into(),
            kind: site.kind.name().into(),
        })
    }
}

fn config<A: Adapter>(options: &toml::Table) -> Result<A::Config, AdapterError> {
    let config = options.clone().try_into();
    config.map_err(|error: toml::de::Error| AdapterError::Config {
        algorithm: A::NAME.into(),
        reason: error.to_string().trim().replace('\n', " "),
    })
}

fn table(options: &impl Serialize) -> toml::Table {
    toml::Table::try_from(options).expect("options are plain values with names")
}

/// The algorithms that a program knows, in the order in which files are matched against them.
#[derive(Debug, Default)]
pub struct Registry {
    kinds: Vec<Kind>,
}

impl Registry {
    /// A registry without algorithms.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds an algorithm, one of your own too. It is tried on files before those already there.
    #[must_use]
    pub fn with<A: Adapter>(mut self) -> Self {
        self.kinds.push(Kind::of::<A>());
        self
    }

    /// All algorithms, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }

    /// The algorithm of this name, or of this second name ([`Adapter::CONVOLUTIONAL_NAME`]).
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.iter().find(|kind| kind.name() == name || kind.convolutional_name() == Some(name))
    }

    /// The algorithm whose tensors these are, for a parameter of this kind. The last one added is
    /// asked first, so that a composition, which has all keys of what it is composed on, goes
    /// before it; one whose first key is there goes before one of which there are only traces.
    pub fn detect(&self, kind: SiteKind, tensors: &Tensors) -> Option<&Kind> {
        let found = || self.kinds.iter().rev().filter(|row| row.detect(kind, tensors));
        let first = found().find(|row| tensors.contains_key(row.keys()[0]));
        first.or_else(|| found().next())
    }
}
