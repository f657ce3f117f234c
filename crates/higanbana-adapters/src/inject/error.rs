//! What can go wrong when adapters are placed in a model.

use higanbana_core::{AdapterError, nearest};

use super::{FoundSite, Pattern};

/// Number of similar names that a message lists.
pub(super) const SHOWN: usize = 3;

/// A reason why adapters cannot be placed, changed or found. The model is left as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InjectError {
    /// A pattern that cannot be read.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern or class that no layer answers to.
    #[error("no layer answers to the {what} `{name}`; nearest: {}", list(nearest))]
    Unmatched {
        /// `path pattern`, `class` or `exclude pattern`.
        what: &'static str,
        /// The pattern or class.
        name: String,
        /// The most similar names there are.
        nearest: Vec<String>,
    },
    /// A pattern that matches modules, but no layer.
    #[error("`{pattern}` is a module, not a layer; write `{inside}` for the layers inside")]
    NotALayer {
        /// The pattern.
        pattern: String,
        /// The pattern for what is inside.
        inside: String,
    },
    /// A pattern or class whose layers the algorithm does not adapt.
    #[error(
        "`{name}` matches {} layers only, and this rule of {algorithm} takes none of them",
        list(layers)
    )]
    Unsuitable {
        /// The pattern or class.
        name: String,
        /// Name of the algorithm.
        algorithm: String,
        /// Kinds of the layers that match.
        layers: Vec<String>,
    },
    /// A rule that leaves nothing to adapt.
    #[error("rule {number} leaves no parameter for {algorithm} to adapt: {rule}")]
    Nothing {
        /// Number of the rule, from 1.
        number: usize,
        /// Name of the algorithm.
        algorithm: String,
        /// The rule in words.
        rule: String,
    },
    /// An algorithm that the registry does not have.
    #[error("no algorithm is called `{name}`; there are: {}", list(known))]
    Algorithm {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A preset that is not built in.
    #[error("no preset is called `{name}`; there are: {}", list(known))]
    Preset {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A preset that cannot be read.
    #[error("preset {name}, line {line}: {reason}")]
    Syntax {
        /// Name or file of the preset.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The parser's message.
        reason: String,
    },
    /// An adapter that cannot be built.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A parameter that another library reparameterises: Burn keeps one for each parameter.
    #[error("{path} already has the reparameterisation `{other}`; materialise the model first")]
    Occupied {
        /// Path of the parameter.
        path: String,
        /// Name of the reparameterisation.
        other: String,
    },
    /// A second adapter of the same set on one parameter.
    #[error("{path} already has an adapter of the set `{set}`; give the new set another name")]
    Duplicate {
        /// Path of the layer.
        path: String,
        /// Name of the set.
        set: String,
    },
    /// A set that the model does not have.
    #[error("the model has no set `{set}`; it has: {}", list(known))]
    Set {
        /// Name of the set.
        set: String,
        /// The sets that it has.
        known: Vec<String>,
    },
    /// An adapter for a parameter that the model does not have.
    #[error("the model has no {kind} at `{path}`; nearest: {}", list(nearest))]
    Site {
        /// Path of the layer.
        path: String,
        /// Kind of the parameter.
        kind: &'static str,
        /// The most similar paths there are.
        nearest: Vec<String>,
    },
    /// An adapter for a parameter of another shape.
    #[error("{path}: the model's {kind} has shape {found:?}, the adapter is for {expected:?}")]
    Shape {
        /// Path of the layer.
        path: String,
        /// Kind of the parameter.
        kind: &'static str,
        /// Shape in the model.
        found: Vec<usize>,
        /// Shape that the adapter is for.
        expected: Vec<usize>,
    },
    /// A strength that is not a number.
    #[error("the strength of `{set}` is {strength}, give a finite number")]
    Strength {
        /// Name of the set.
        set: String,
        /// `NaN` or `inf`.
        strength: f64,
    },
}

impl InjectError {
    /// That no layer answers to a pattern.
    pub(super) fn unmatched_path(
        what: &'static str,
        pattern: &Pattern,
        found: &[FoundSite],
    ) -> Self {
        let paths = || found.iter().map(|f| f.site.path.as_str());
        let above =
            |path: &str| path.match_indices('.').any(|(dot, _)| pattern.matches(&path[..dot]));
        if paths().any(above) {
            return Self::NotALayer { pattern: pattern.as_str().into(), inside: pattern.inside() };
        }
        // A pattern for any depth is compared with as many names from the end as it has itself.
        let nearest = match pattern.as_str().strip_prefix("**.") {
            Some(tail) => {
                let tails = paths().map(|path| last_names(path, tail.matches('.').count() + 1));
                nearest(tail, tails, SHOWN).into_iter().map(|tail| format!("**.{tail}")).collect()
            }
            None => nearest(pattern.as_str().trim_start_matches("re:"), paths(), SHOWN),
        };
        Self::Unmatched { what, name: pattern.as_str().into(), nearest }
    }

    /// That no layer is inside a class.
    pub(super) fn unmatched_class(class: &str, found: &[FoundSite]) -> Self {
        let classes = found.iter().flat_map(|f| f.classes()).map(String::as_str);
        let nearest = nearest(class, classes, SHOWN);
        Self::Unmatched { what: "class", name: class.into(), nearest }
    }
}

fn last_names(path: &str, count: usize) -> &str {
    match path.rmatch_indices('.').nth(count - 1) {
        Some((dot, _)) => &path[dot + 1..],
        None => path,
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
