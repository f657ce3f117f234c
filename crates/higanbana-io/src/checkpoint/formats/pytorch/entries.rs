//! What a pickle holds: the weights, and what is saved beside them.

use std::{collections::HashMap, path::Path};

use pytorch_reader::PickleValue;

/// Keys under which trainers keep the weights.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// As the reader calls a tensor.
const TENSOR: &str = "torch.Tensor";

/// Modules of Python through which pickles do harm; no weights need them.
const HARMFUL: [&str; 15] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "shutil",
    "socket",
    "runpy",
    "importlib",
    "pty",
    "commands",
    "webbrowser",
    "pip",
    "bdb",
    "ctypes",
];

/// Names of `builtins` that are values or types.
const HARMLESS: [&str; 14] = [
    "int",
    "float",
    "complex",
    "str",
    "bytes",
    "bytearray",
    "bool",
    "list",
    "dict",
    "tuple",
    "slice",
    "object",
    "set",
    "frozenset",
];

/// The entries of a file's pickle.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Of the keys of the weights.
    pub prefix: String,
    /// Tensors anywhere in the pickle.
    tensors: usize,
    /// What is no tensor, or not one of the weights.
    others: Vec<String>,
    /// Calls that would do harm.
    harmful: Option<String>,
}

impl Entries {
    pub fn of(root: &PickleValue) -> Self {
        let mut entries = Self::default();
        let mut weights = root;
        while let PickleValue::Dict(inside) = weights
            && let Some((key, inner)) = wrapper(inside)
        {
            entries.others.extend(names(inside).filter(|name| *name != key).map(String::from));
            entries.prefix += &format!("{key}.");
            weights = inner;
        }
        entries.count(root);
        if let PickleValue::Dict(weights) = weights {
            let others = names(weights).filter(|name| !holds_tensors(&weights[*name]));
            entries.others.extend(others.map(String::from));
        }
        entries
    }

    fn count(&mut self, value: &PickleValue) {
        match value {
            PickleValue::Dict(values) => values.values().for_each(|value| self.count(value)),
            PickleValue::List(values) => values.iter().for_each(|value| self.count(value)),
            PickleValue::Unsupported(name) if name == TENSOR => self.tensors += 1,
            PickleValue::Unsupported(name) if is_harmful(name) => self.harmful = Some(name.clone()),
            _ => (),
        }
    }

    /// Why the pickle is not to be believed, if `read` tensors were found by name.
    pub fn check(&self, read: usize) -> Result<(), String> {
        if let Some(name) = &self.harmful {
            return Err(format!(
                "it names {name}, which no weights need; do not load it in Python"
            ));
        }
        if self.tensors > read {
            return Err(format!("{} of its tensors have one name", self.tensors - read + 1));
        }
        Ok(())
    }

    /// What is passed over, in one line.
    pub fn note(&self, path: &Path) -> Option<String> {
        const SHOWN: usize = 5;
        let shown: Vec<String> =
            self.others.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
        let more = if self.others.len() > SHOWN { ", ..." } else { "" };
        (!shown.is_empty()).then(|| {
            let (path, count, shown) = (path.display(), self.others.len(), shown.join(", "));
            format!("{path}: {count} entries that are no weights are passed over: {shown}{more}")
        })
    }
}

/// The entry that holds the weights of a dictionary with more than these.
fn wrapper(inside: &HashMap<String, PickleValue>) -> Option<(&'static str, &PickleValue)> {
    let mut found = WRAPPERS.into_iter().filter_map(|key| Some((key, inside.get(key)?)));
    found.find(|(_, inner)| matches!(inner, PickleValue::Dict(_)) && holds_tensors(inner))
}

fn names(inside: &HashMap<String, PickleValue>) -> impl Iterator<Item = &str> {
    let mut names: Vec<&str> = inside.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.into_iter()
}

fn holds_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(values) => values.values().any(holds_tensors),
        PickleValue::List(values) => values.iter().any(holds_tensors),
        PickleValue::Unsupported(name) => name == TENSOR,
        _ => false,
    }
}

fn is_harmful(name: &str) -> bool {
    let (module, function) = name.split_once('.').unwrap_or((name, ""));
    match module {
        "builtins" | "__builtin__" => !HARMLESS.contains(&function),
        _ => HARMFUL.contains(&module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary<const N: usize>(entries: [(&str, PickleValue); N]) -> PickleValue {
        PickleValue::Dict(entries.map(|(key, value)| (key.into(), value)).into())
    }

    fn tensor() -> PickleValue {
        PickleValue::Unsupported(TENSOR.into())
    }

    #[test]
    fn the_weights_are_found_below_what_trainers_call_them() {
        for (root, prefix, others) in [
            (dictionary([("a", tensor()), ("model", tensor())]), "", 0),
            (dictionary([("model.a", tensor())]), "", 0),
            (dictionary([("state_dict", dictionary([("a", tensor())]))]), "state_dict.", 0),
            (
                dictionary([
                    ("epoch", PickleValue::Int(1)),
                    ("model", dictionary([("state_dict", dictionary([("a", tensor())]))])),
                ]),
                "model.state_dict.",
                1,
            ),
            // Without a tensor it is no dictionary of weights.
            (dictionary([("model", dictionary([])), ("a", tensor())]), "", 1),
        ] {
            let entries = Entries::of(&root);
            assert_eq!((entries.prefix.as_str(), entries.others.len()), (prefix, others));
        }
    }

    #[test]
    fn two_tensors_of_one_name_are_refused() {
        let root = dictionary([("a", dictionary([("b", tensor())])), ("a.b", tensor())]);
        let message = Entries::of(&root).check(1).unwrap_err();
        assert_eq!(message, "2 of its tensors have one name");
    }

    #[test]
    fn harm_is_told_from_values() {
        for name in
            ["posix.system", "builtins.eval", "__builtin__.getattr", "os.path.x", "pty.spawn"]
        {
            assert!(is_harmful(name), "{name}");
        }
        for name in ["builtins.set", "builtins.int", "numpy.core.multiarray.scalar", "torch.device"]
        {
            assert!(!is_harmful(name), "{name}");
        }
    }
}
