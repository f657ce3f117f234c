//! The algorithms that can be fitted to an update.

use higanbana_core::{Kind, Registry, SiteKind};

use super::RefitError;

/// An algorithm to fit, and where.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The algorithm.
    pub kind: &'a Kind,
    /// Whether it adapts convolutions of more than one tap too.
    pub convolutions: bool,
}

impl<'a> Choice<'a> {
    /// By the algorithm's name, or by that of its form for convolutions where the field has two.
    ///
    /// # Errors
    /// When there is no such algorithm, or none that can be fitted to an update.
    pub fn named(registry: &'a Registry, name: &str) -> Result<Self, RefitError> {
        let choices: Vec<(&str, Self)> = Self::all(registry);
        let found = choices.iter().find(|(own, _)| *own == name);
        found.map(|(_, choice)| *choice).ok_or_else(|| RefitError::NotFittable {
            algorithm: name.into(),
            choices: choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Every algorithm that can be fitted to the update of a layer.
    pub fn all(registry: &'a Registry) -> Vec<(&'a str, Self)> {
        let fits = registry.iter().filter(|kind| is_fittable(kind));
        fits.flat_map(|kind| {
            let wide = kind.convolutional_name();
            let plain = Self { kind, convolutions: wide.is_none() };
            let wide = wide.map(|name| (name, Self { kind, convolutions: true }));
            [(kind.name(), plain)].into_iter().chain(wide)
        })
        .collect()
    }

    /// Whether it keeps whatever it is given, biases too, and so has no rank to choose.
    pub fn is_dense(&self) -> bool {
        self.kind.sites().contains(&SiteKind::Bias)
    }
}

fn is_fittable(kind: &Kind) -> bool {
    kind.sites().contains(&SiteKind::Linear) && kind.fitted().is_some()
}
