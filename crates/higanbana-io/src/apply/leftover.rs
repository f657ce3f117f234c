//! What of an adapter file goes nowhere: nothing is dropped in silence.
//!
//! A result that lacks something which the user asked for is incomplete. A leftover is **harmless**, and
//! the result whole without it, where it could have acted nowhere in what the user named:
//!
//! * a module of another model than the only one that the base is a file of: a text encoder's part of an
//!   adapter on the file of a UNet;
//! * an embedding bundled with the adapter, where a model takes the adapter: it is no update of a weight;
//! * an `alpha` without the tensors that it scales.
//!
//! Every other one is not.

use std::fmt;

use higanbana_core::Tensors;

use super::ApplyError;
use crate::{AdapterReader, Names, Target, dialect::Unused, names::NameError};

/// A module or a tensor of an adapter file that has no part in the result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Leftover {
    /// The module, or the tensor's key.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Whether the result is whole without it, because it could have acted nowhere in what the user named, such
    /// as a text encoder's part on the file of a UNet.
    pub harmless: bool,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// The leftovers of a file, as they come up while it is read.
pub(crate) struct Leftovers {
    modules: Vec<Leftover>,
    keys: Vec<Leftover>,
}

/// For how many modules similar names are looked for, which takes long.
const WITH_NEAREST: usize = 10;

impl Leftovers {
    /// Begins with the tensors that belong to no module.
    pub fn of(reader: &AdapterReader) -> Self {
        let unused = reader.unused().iter();
        let keys = unused.map(|unused| {
            let harmless = unused.is_bundled() || unused.scales_nothing();
            Leftover { harmless, ..leftover(&unused.key, unused.reason) }
        });
        Self { modules: Vec::new(), keys: keys.collect() }
    }

    /// Of a file that is written anew, in a dialect that has a place for what is bundled with an adapter,
    /// or has none.
    pub fn rewriting(reader: &AdapterReader, has_place: bool) -> Self {
        let mut all = Self::of(reader);
        let bundled = reader.unused().iter().map(Unused::is_bundled);
        let keys = all.keys.into_iter().zip(bundled);
        let kept = keys.filter(|(_, is_bundled)| !(*is_bundled && has_place));
        all.keys = kept
            .map(|(it, is_bundled)| Leftover { harmless: it.harmless && !is_bundled, ..it })
            .collect();
        all
    }

    /// What `module` means among the names of a base; if nothing, or not one thing, it is left over.
    pub fn expect<'n>(&mut self, module: &str, names: &'n Names) -> Option<&'n Target> {
        let error = match names.find(module) {
            Ok(Some(target)) => return Some(target),
            Ok(None) => names.unmatched(module, self.modules.len() < WITH_NEAREST),
            Err(error) => error,
        };
        let harmless = matches!(error, NameError::Elsewhere { .. }) && names.is_of_one_model();
        self.modules.push(Leftover { harmless, ..leftover(module, error.to_string()) });
        None
    }

    /// A module that cannot be read.
    pub fn broken(&mut self, module: &str, error: &ApplyError) {
        self.modules.push(leftover(module, error.to_string()));
    }

    /// A module whose tensors no algorithm takes for `what`.
    pub fn unknown(&mut self, module: &str, tensors: &Tensors, what: &str) {
        let keys: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let reason = format!("no algorithm adapts {what} with {}", keys.join(", "));
        self.modules.push(leftover(module, reason));
    }

    /// Tensors of a module that its adapters did not ask for.
    pub fn unused(&mut self, module: &str, keys: &[String]) {
        let name = |key| format!("{module}.{key}");
        self.keys.extend(keys.iter().map(|key| leftover(&name(key), "not used by its adapter")));
    }

    /// Modules first, then single tensors.
    pub fn into_vec(self) -> Vec<Leftover> {
        [self.modules, self.keys].concat()
    }
}

fn leftover(name: &str, reason: impl Into<String>) -> Leftover {
    Leftover { name: name.into(), reason: reason.into(), harmless: false }
}
