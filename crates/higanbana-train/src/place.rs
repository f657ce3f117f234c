//! Where a traversal of a model is.

/// The names on the way to a parameter. Those of enum variants have no part in its path: they say how a
/// part is built, not which one it is.
#[derive(Debug, Default)]
pub struct Place {
    names: Vec<String>,
}

impl Place {
    /// What a visitor is told on its way down.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.names.push(name.into());
        }
    }

    /// What it is told on its way up.
    pub fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.names.pop();
        }
    }

    /// The path.
    pub fn path(&self) -> String {
        self.names.join(".")
    }
}
