//! Which parameters get which algorithm.

use higanbana_core::Kind;
use serde::{Deserialize, Serialize};

use super::{FoundSite, InjectError, LayerKind, Pattern, error::SHOWN};

/// Selects layers, and says what they get.
///
/// A layer is selected when a path pattern or a class answers to it (or there are neither), its kind
/// is among `layers` (or there are none), and no exclude pattern matches its path. Of a selected
/// layer those parameters are adapted that the algorithm adapts: weights, for some biases too.
///
/// Every pattern and class must answer to something, unless `any` is set.
///
/// ```toml
/// paths = ["**.attn2.to_{k,v}"]
/// exclude = ["up_blocks.3.**"]
/// algorithm = "loha"
/// options = { rank = 4 }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Patterns over paths of layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    /// Names of structs: every layer inside is selected, at any depth, and the struct itself where
    /// it is a layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Kinds of layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerKind>,
    /// Patterns over paths of layers to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Pattern>,
    /// For lists that serve several models: it is enough that the rule as a whole selects something.
    pub any: bool,
    /// Name of the algorithm; the injection's own where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Options. With the injection's own algorithm these are laid over the injection's options.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub options: toml::Table,
}

impl Rule {
    /// A rule that selects by path patterns.
    ///
    /// # Errors
    /// When a pattern cannot be read.
    pub fn paths<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InjectError> {
        Ok(Self { paths: parse(patterns)?, ..Self::default() })
    }

    /// A rule that selects everything inside structs of these names.
    pub fn classes<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { classes: names.into_iter().map(String::from).collect(), ..Self::default() }
    }

    /// Only layers of these kinds.
    #[must_use]
    pub fn layers(mut self, kinds: impl Into<Vec<LayerKind>>) -> Self {
        self.layers = kinds.into();
        self
    }

    /// Leaves out paths.
    ///
    /// # Errors
    /// When a pattern cannot be read.
    pub fn exclude<'a>(
        mut self,
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InjectError> {
        self.exclude = parse(patterns)?;
        Ok(self)
    }

    /// With an algorithm of its own.
    #[must_use]
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithm = Some(name.into());
        self
    }

    /// With options.
    #[must_use]
    pub fn options(mut self, options: toml::Table) -> Self {
        self.options = options;
        self
    }

    /// Whether the layer of a parameter is selected.
    pub fn selects(&self, found: &FoundSite) -> bool {
        let path = &found.site.path;
        let everything = self.paths.is_empty() && self.classes.is_empty();
        let named = self.paths.iter().any(|pattern| pattern.matches(path))
            || self.classes.iter().any(|class| found.classes().contains(class));
        (everything || named)
            && (self.layers.is_empty() || self.layers.contains(&found.layer))
            && !self.exclude.iter().any(|pattern| pattern.matches(path))
    }

    /// That every pattern and class answers to something that the algorithm adapts.
    pub(super) fn check(
        &self,
        number: usize,
        algorithm: &Kind,
        found: &[FoundSite],
    ) -> Result<(), InjectError> {
        if !self.any {
            for pattern in &self.paths {
                let matching = found.iter().filter(|f| pattern.matches(&f.site.path)).collect();
                if !self.answered(pattern.as_str(), matching, algorithm)? {
                    return Err(InjectError::unmatched_path("path pattern", pattern, found));
                }
            }
            for class in &self.classes {
                let inside = found.iter().filter(|f| f.classes().contains(class)).collect();
                if !self.answered(class, inside, algorithm)? {
                    return Err(InjectError::unmatched_class(class, found));
                }
            }
            for pattern in &self.exclude {
                if !found.iter().any(|f| pattern.matches(&f.site.path)) {
                    return Err(InjectError::unmatched_path("exclude pattern", pattern, found));
                }
            }
        }
        if found.iter().any(|f| algorithm.sites().contains(&f.site.kind) && self.selects(f)) {
            return Ok(());
        }
        Err(InjectError::Nothing {
            number,
            algorithm: algorithm.name().into(),
            rule: self.in_words(),
        })
    }

    fn in_words(&self) -> String {
        let patterns = |patterns: &[Pattern]| patterns.iter().map(|p| p.as_str().into()).collect();
        let parts: [(&str, Vec<String>); 4] = [
            ("paths", patterns(&self.paths)),
            ("classes", self.classes.clone()),
            ("layers", self.layers.iter().map(|kind| kind.name().into()).collect()),
            ("exclude", patterns(&self.exclude)),
        ];
        let parts = parts.iter().filter(|(_, names)| !names.is_empty()).map(|(part, names)| {
            let more = match names.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{part} {}{more}", names[..names.len().min(SHOWN)].join(", "))
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Whether anything matches; an error when something does, but nothing that can be adapted.
    fn answered(
        &self,
        name: &str,
        matching: Vec<&FoundSite>,
        algorithm: &Kind,
    ) -> Result<bool, InjectError> {
        let suits = |f: &&FoundSite| {
            algorithm.sites().contains(&f.site.kind)
                && (self.layers.is_empty() || self.layers.contains(&f.layer))
        };
        if matching.is_empty() || matching.iter().any(suits) {
            return Ok(!matching.is_empty());
        }
        let mut layers: Vec<LayerKind> = matching.iter().map(|f| f.layer).collect();
        layers.sort();
        layers.dedup();
        Err(InjectError::Unsuitable {
            name: name.into(),
            algorithm: algorithm.name().into(),
            layers: layers.into_iter().map(|kind| kind.name().into()).collect(),
        })
    }
}

fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Vec<Pattern>, InjectError> {
    patterns.into_iter().map(str::parse).collect()
}
