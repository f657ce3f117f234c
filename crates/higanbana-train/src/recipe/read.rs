//! A recipe from its file, and what it must not ask for.

use std::path::Path;

use super::{Recipe, Train, set};
use crate::{TrainError, precision::Precision};

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
        let located = |error: toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(format!("{line}{}", error.message().replace('\n', " ")))
        };
        // As it is, so that messages name lines.
        if overrides.is_empty() {
            let recipe: Self = toml::from_str(&text).map_err(located)?;
            return recipe.checked(path);
        }
        let mut value: toml::Value = toml::from_str(&text).map_err(located)?;
        for it in overrides {
            set::lay(&mut value, it).map_err(|reason| wrong(format!("--set {it}: {reason}")))?;
        }
        let recipe: Self = value.try_into().map_err(|e: toml::de::Error| {
            wrong(format!("with --set: {}", e.message().replace('\n', " ")))
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
        let held_out = self.validation.iter_mut().flat_map(|it| &mut it.concepts);
        let concepts = self.data.concepts.iter_mut().chain(held_out);
        let paths = concepts.map(|concept| &mut concept.folder).chain(&mut self.data.cache);
        paths
            .chain([&mut self.model])
            .chain(&mut self.config)
            .for_each(|path| *path = folder.join(&*path));
        self
    }

    fn checked(self, path: &Path) -> Result<Self, TrainError> {
        let wrong = |reason: String| Err(TrainError::recipe(path, reason));
        let Train { steps, epochs, batch, accumulation, ema, .. } = &self.train;
        match (steps, epochs) {
            (Some(0), _) | (_, Some(0)) => return wrong("train: takes one step at least".into()),
            (Some(_), Some(_)) => return wrong("train: give steps or epochs, not both".into()),
            (None, None) => return wrong("train: give steps or epochs".into()),
            _ => {}
        }
        if *batch == 0 || *accumulation == 0 {
            return wrong("train: batch and accumulation are 1 at least".into());
        }
        if let Some((key, x)) = self.train.not_positive().or_else(|| self.objective.negative()) {
            return wrong(format!("{key}: {x} is no number that makes sense there"));
        }
        if ema.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
            return wrong("train.ema: give a number below 1, such as 0.999".into());
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
            None if self.train.dtype != Precision::default() => {
                return wrong(
                    "train.dtype: a model that is trained itself is trained in f32".into(),
                );
            }
            _ => {}
        }
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            return wrong(format!("name: {:?} is no name of a file", self.name));
        }
        let data = &self.data;
        let [width, height] = data.resolution.size();
        if width == 0 || height == 0 || data.chunks == 0 {
            return wrong("data: resolution and chunks are 1 at least".into());
        }
        if let Some(buckets) = &data.buckets {
            let side = (width * height).isqrt();
            if buckets.step == 0 || buckets.min < buckets.step || buckets.step > side {
                return wrong(
                    "data.buckets: step must be between 1 and min and the resolution".into(),
                );
            }
        }
        if data.concepts.is_empty() {
            return wrong("data.concepts: there are none".into());
        }
        let captions = data.concepts.iter().flat_map(|concept| concept.captions.as_ref());
        for captions in captions.chain([&data.captions]) {
            if let Some((name, p)) = captions.wrong() {
                return wrong(format!("captions.{name}: {p} is no probability"));
            }
        }
        if data.concepts.iter().all(|concept| concept.regularisation) {
            return wrong("data.concepts: all are for regularisation".into());
        }
        if self.sample.as_ref().is_some_and(|it| it.every == 0 || it.prompts.is_empty()) {
            return wrong("sample: needs prompts, and every 1 at least".into());
        }
        if self.validation.as_ref().is_some_and(|it| it.every == 0 || it.times.is_empty()) {
            return wrong("validation: needs times, and every 1 at least".into());
        }
        Ok(self)
    }

    /// The recipe as a table, every default spelled out.
    pub fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a recipe is plain values with names")
    }
}
