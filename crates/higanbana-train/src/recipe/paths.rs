//! What a training reads, and what it writes into the folder of its run.

use std::path::{Path, PathBuf};

use super::{Embedding, Recipe};
use crate::{checkpoint, events, sheet};

impl Recipe {
    /// The model that is trained or adapted, its configurations, the files of a preset and of embeddings,
    /// and the adapter that the training begins from.
    pub fn models(&self) -> Vec<PathBuf> {
        let preset = self.adapter.iter().map(|adapter| Path::new(&adapter.preset));
        let preset = preset.filter(|preset| preset.extension().is_some_and(|it| it == "toml"));
        let begins = self.adapter.iter().flat_map(|adapter| adapter.init_from.as_deref());
        let paths = [&*self.model].into_iter().chain(self.config.as_deref()).chain(preset);
        let embeddings = self.embeddings.iter().filter_map(|it| it.file.as_deref());
        let paths = paths.chain(begins).chain(embeddings);
        paths.map(Path::to_path_buf).collect()
    }

    /// The folders of images, also of those that are held out.
    pub fn images(&self) -> Vec<PathBuf> {
        let held_out = self.validation.iter().flat_map(|it| &it.concepts);
        self.data.concepts.iter().chain(held_out).map(|concept| concept.folder.clone()).collect()
    }

    /// Name of the adapter file, or else of the first token's, or of the folder of the trained model.
    pub fn product(&self) -> String {
        let token = || self.embeddings.iter().find_map(Embedding::product);
        match &self.adapter {
            Some(_) => format!("{}.safetensors", self.name),
            None => token().unwrap_or_else(|| self.name.clone()),
        }
    }

    /// Name of the adapter file as it is at a step.
    pub fn snapshot(&self, step: usize) -> String {
        format!("{}-step{step:08}.safetensors", self.name)
    }

    /// All of it besides what every run writes, as [`higanbana_io::run::Run::check`] takes it.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![format!("{}*", checkpoint::NAMES), events::NAME.into()];
        names.extend(self.embeddings.iter().filter_map(Embedding::product));
        match &self.adapter {
            Some(_) => names.push(self.product()),
            None if !self.trains_model() => {}
            None => names.extend(["/", "/*"].map(|end| self.product() + end)),
        }
        if self.train.snapshots {
            names.push(format!("{}-step*", self.name));
        }
        if self.sample.is_some() {
            names.extend([format!("{}*", sheet::ROWS), sheet::SHEET.into()]);
        }
        names
    }
}
