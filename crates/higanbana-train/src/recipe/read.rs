//! A recipe from its file, and what it must not ask for.

use std::path::Path;

use super::{Recipe, set};
use crate::{TrainError, data::Backgrounds, precision::Precision};

impl Recipe {
    /// Reads `RUN.toml`, with values laid over those of the file: `key.inner=value`, the value in TOML or
    /// plain text.
    ///
    /// # Errors
    /// When it cannot be read, is no recipe, or asks for something that cannot be.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let wrong = |reason: String| TrainError::recipe(path, reason);
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("cannot be read ({error})")))?;
        let line = |error: &toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            line.map(|line| format!("line {line}: ")).unwrap_or_default()
        };
        let mut value: toml::Value = toml::from_str(&text)
            .map_err(|e| wrong(format!("{}{}", line(&e), e.message().replace('\n', " "))))?;
        for it in overrides {
            set::lay(&mut value, it).map_err(|reason| wrong(format!("--set {it}: {reason}")))?;
        }
        // The values know their keys, the text its lines.
        let recipe: Self = value.try_into().map_err(|error: toml::de::Error| {
            let place = match toml::from_str::<Self>(&text) {
                Err(error) if overrides.is_empty() => line(&error),
                _ => String::new(),
            };
            wrong(format!("{place}{}", error.to_string().trim().replace('\n', " ")))
        })?;
        recipe.checked(path)
    }

    /// The recipe with paths that lead from a folder, that of its file.
    #[must_use]
    pub fn located(mut self, folder: &Path) -> Self {
        if let Some(adapter) = &mut self.adapter
            && Path::new(&adapter.preset).extension().is_some_and(|it| it == "toml")
        {
            adapter.preset = folder.join(&adapter.preset).display().to_string();
        }
        let begins = self.adapter.iter_mut().flat_map(|adapter| &mut adapter.init_from);
        begins.for_each(|path| *path = folder.join(&*path));
        let held_out = self.validation.iter_mut().flat_map(|it| &mut it.concepts);
        let concepts = self.data.concepts.iter_mut().chain(held_out);
        let paths = concepts.map(|concept| &mut concept.folder).chain(&mut self.data.cache);
        paths
            .chain([&mut self.model])
            .chain(&mut self.config)
            .chain(self.embeddings.iter_mut().flat_map(|it| &mut it.file))
            .for_each(|path| *path = folder.join(&*path));
        self
    }

    fn checked(mut self, path: &Path) -> Result<Self, TrainError> {
        let wrong = |reason: String| Err(TrainError::recipe(path, reason));
        if let Some(reason) = self.wrong_number() {
            return wrong(reason);
        }
        match (self.train.steps, self.train.epochs) {
            (Some(_), Some(_)) => return wrong("train: give steps or epochs, not both".into()),
            (None, None) => return wrong("train: give steps or epochs".into()),
            _ => {}
        }
        if let Some(reason) = self.wrong_embedding() {
            return wrong(reason);
        }
        match (self.train.ema, self.train.ema_warmup) {
            (Some(_), None) => self.train.ema_warmup = Some(true),
            (None, Some(_)) => return wrong("train.ema_warmup: there is no train.ema".into()),
            _ => {}
        }
        match &self.adapter {
            Some(_) if self.from_scratch => {
                return wrong("from_scratch: trains the model itself; leave out adapter".into());
            }
            None if self.train.loraplus != 1.0 => {
                return wrong(
                    "train.loraplus: is about an adapter's factors; there is none".into(),
                );
            }
            None if self.train.snapshots => {
                return wrong("train.snapshots: are of an adapter; there is none".into());
            }
            None if self.trains_model() && self.train.dtype != Precision::default() => {
                return wrong(
                    "train.dtype: a model that is trained itself is trained in f32".into(),
                );
            }
            Some(adapter) if !adapter.text_encoder && self.train.text_encoder_rate.is_some() => {
                return wrong(
                    "train.text_encoder_rate: they are not trained; set adapter.text_encoder"
                        .into(),
                );
            }
            _ => {}
        }
        if !is_name(&self.name) {
            return wrong(format!("name: {:?} is no name of a file", self.name));
        }
        let data = &self.data;
        if let Some(reason) = data.buckets.and_then(|it| it.wrong(data.resolution)) {
            return wrong(format!("data.buckets.{reason}"));
        }
        if let Some(reason) = data.backgrounds.as_ref().and_then(Backgrounds::wrong) {
            return wrong(format!("data.backgrounds.{reason}"));
        }
        if data.concepts.is_empty() {
            return wrong("data.concepts: there are none".into());
        }
        if data.concepts.iter().all(|concept| concept.regularisation) {
            return wrong("data.concepts: all are for regularisation".into());
        }
        let regular = data.concepts.iter().any(|concept| concept.regularisation);
        if self.objective.preserve_output && !regular {
            return wrong("objective.preserve_output: no concept is for regularisation".into());
        }
        if self.sample.as_ref().is_some_and(|it| it.prompts.is_empty()) {
            return wrong("sample.prompts: there are none".into());
        }
        let validation = self.validation.as_ref();
        if validation.is_some_and(|it| it.concepts.is_empty() || it.times.is_empty()) {
            return wrong("validation: needs concepts and times".into());
        }
        Ok(self)
    }

    /// The recipe as a table, every default spelled out.
    pub fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a recipe is plain values with names")
    }
}

/// Whether a file of this name, and a folder, can be made beside those of a run.
pub(super) fn is_name(name: &str) -> bool {
    const TAKEN: &str = ". .. checkpoints samples samples.png run.toml metrics.jsonl result.json \
                         error.txt higanbana.ledger";
    let file = |c: char| !c.is_control() && !"/\\:*?\"<>|".contains(c);
    (1..=200).contains(&name.len())
        && name.chars().all(file)
        && TAKEN.split(' ').all(|it| it != name)
}
