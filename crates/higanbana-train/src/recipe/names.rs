//! What a training writes into the folder of its run.

use super::Recipe;
use crate::{checkpoint, events, sheet};

impl Recipe {
    /// Name of the adapter file, or of the folder of the trained model.
    pub fn product(&self) -> String {
        match &self.adapter {
            Some(_) => format!("{}.safetensors", self.name),
            None => self.name.clone(),
        }
    }

    /// All of it besides what every run writes, as [`higanbana_io::run::Run::check`] takes it.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![format!("{}*", checkpoint::NAMES), events::NAME.into()];
        match &self.adapter {
            Some(_) => names.push(self.product()),
            None => names.extend(["/", "/*"].map(|end| self.product() + end)),
        }
        if self.sample.is_some() {
            names.extend([format!("{}*", sheet::ROWS), sheet::SHEET.into()]);
        }
        names
    }
}
