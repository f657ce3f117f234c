//! Where a traversal of a model is.

/// What Burn calls the way into adapters.
const ADAPTERS: &str = "Reparameterization";

/// The names on the way to a parameter. Those of enum variants have no part in its path: they say how a
/// part is built, not which one it is.
#[derive(Debug, Default)]
pub struct Place {
    names: Vec<String>,
    adapters: usize,
}

impl Place {
    /// What a visitor is told on its way down.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.names.push(name.into());
        }
        self.adapters += usize::from(container == ADAPTERS);
    }

    /// What it is told on its way up.
    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.names.pop();
        }
        self.adapters -= usize::from(container == ADAPTERS);
    }

    /// The path.
    pub fn path(&self) -> String {
        self.names.join(".")
    }

    /// Whether it is in an adapter.
    pub fn is_in_adapter(&self) -> bool {
        self.adapters > 0
    }
}
