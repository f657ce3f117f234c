//! What of an adapter file goes nowhere: nothing is dropped in silence.

use std::fmt;

use higanbana_core::Tensors;

use crate::{AdapterReader, Names, Target};

/// A module or a tensor of an adapter file that has no part in the result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Leftover {
    /// The module, or the tensor's key.
    pub name: String,
    /// Why.
    pub reason: String,
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
        let keys = unused.map(|unused| leftover(&unused.key, unused.reason)).collect();
        Self { modules: Vec::new(), keys }
    }

    /// What `module` means among the names of a base; if nothing, or not one thing, it is left over.
    pub fn expect<'n>(&mut self, module: &str, names: &'n Names) -> Option<&'n Target> {
        let error = match names.find(module) {
            Ok(Some(target)) => return Some(target),
            Ok(None) => names.unmatched(module, self.modules.len() < WITH_NEAREST),
            Err(error) => error,
        };
        self.modules.push(leftover(module, error.to_string()));
        None
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
    Leftover { name: name.into(), reason: reason.into() }
}
