//! What PEFT keeps outside the tensors: alpha, by module.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::meaning;
use crate::{Checkpoint, FileError, names::PEFT};

/// The entry of a diffusers file's metadata.
pub(super) const METADATA: &str = "lora_adapter_metadata";
/// No such file is longer; a larger one is another file by mistake.
const MAX_BYTES: u64 = 1 << 24;

/// The configuration beside a PEFT adapter.
pub(super) fn config_path(adapter: &Path) -> PathBuf {
    adapter.with_file_name("adapter_config.json")
}

/// PEFT's configuration of one model's adapter, as far as the tensors' meaning depends on it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    r: Option<f64>,
    #[serde(alias = "lora_alpha")]
    alpha: Option<f64>,
    rank_pattern: Option<Map<String, Value>>,
    alpha_pattern: Option<Map<String, Value>>,
    use_rslora: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Config {
    /// Alpha in LyCORIS's sense, where the update is scaled by `alpha / rank`; PEFT's
    /// rank-stabilised option scales by `alpha / sqrt(rank)` (arXiv:2312.03732).
    pub fn alpha(&self, module: &str, rank: Option<usize>) -> Option<f64> {
        let alpha = pattern(&self.alpha_pattern, module).or(self.alpha)?;
        match (self.use_rslora, rank) {
            (Some(true), Some(rank)) => Some(alpha * (rank as f64).sqrt()),
            _ => Some(alpha),
        }
    }

    /// `alpha / rank`, both as configured.
    pub fn scale(&self, module: &str) -> Option<f64> {
        let rank = pattern(&self.rank_pattern, module).or(self.r)?;
        Some(self.alpha(module, None)? / rank)
    }
}

/// The first pattern that fits the whole of `module`, or of its end after a dot.
fn pattern(patterns: &Option<Map<String, Value>>, module: &str) -> Option<f64> {
    let fits = |pattern: &str| {
        let whole = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
        whole.map_or(pattern == module, |whole| whole.is_match(module))
    };
    let (_, value) = patterns.as_ref()?.iter().find(|(pattern, _)| fits(pattern))?;
    value.as_f64()
}

/// The configurations that come with a file, each for the modules below a prefix.
#[derive(Debug, Default)]
pub(super) struct Configs(Vec<(String, Config)>);

impl Configs {
    /// From [`config_path`]; none if there is no such file.
    pub fn beside(adapter: &Path) -> Result<Option<Self>, FileError> {
        let path = config_path(adapter);
        let Ok(about) = fs::metadata(&path) else { return Ok(None) };
        if !about.is_file() || about.len() > MAX_BYTES {
            let reason = "is no adapter_config.json; restore the one saved with the adapter".into();
            return Err(FileError::Config { path, reason });
        }
        let text = fs::read_to_string(&path)
            .map_err(|source| FileError::Read { path: path.clone(), source })?;
        // A list would do for the fields of a struct, too.
        let options: Map<String, Value> = parse(&path, serde_json::from_str(&text))?;
        let config = parse(&path, serde_json::from_value(Value::Object(options)))?;
        Ok(Some(Self(vec![(PEFT.into(), config)])))
    }

    /// From [`METADATA`] in the header, which diffusers writes since 0.34.
    pub fn within(checkpoint: &Checkpoint) -> Result<Self, FileError> {
        let Some(text) = checkpoint.metadata().get(METADATA) else { return Ok(Self::default()) };
        let path = checkpoint.path();
        let entries: Map<String, Value> = parse(path, serde_json::from_str(text))?;
        // A pipeline's entries carry its component's name, those of a single model none.
        let mut models = Map::new();
        for (key, value) in entries {
            let (model, option) = match key.rsplit_once('.') {
                Some((model, option)) => (format!("{model}."), option),
                None => (String::new(), key.as_str()),
            };
            models.entry(model).or_insert(Value::Object(Map::new()))[option] = value;
        }
        let read = |(model, config)| Ok((model, parse(path, serde_json::from_value(config))?));
        models.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The configuration for a module and the module's path within its model.
    pub fn find<'a>(&self, module: &'a str) -> Option<(&Config, &'a str)> {
        self.0.iter().find_map(|(prefix, config)| Some((config, module.strip_prefix(prefix)?)))
    }

    /// Refuses options under which the tensors of the file at `path` are not what they look like.
    /// What is to be said of the others, one line each.
    pub fn check(&self, path: &Path) -> Result<Vec<String>, FileError> {
        let mut notes = Vec::new();
        for (_, config) in &self.0 {
            if let Some(reason) = meaning::refusal(&config.rest) {
                return Err(FileError::Config { path: path.into(), reason });
            }
            notes.extend(meaning::unknown(&config.rest).into_iter().map(|option| {
                let option = option.escape_debug();
                format!("{}: PEFT's option {option} is not known and ignored", path.display())
            }));
        }
        Ok(notes)
    }
}

fn parse<T>(path: &Path, parsed: serde_json::Result<T>) -> Result<T, FileError> {
    parsed.map_err(|e| {
        let what = e.to_string().replace(char::is_control, " ");
        let reason =
            format!("the adapter's configuration is invalid ({what}); save the adapter again");
        FileError::Config { path: path.into(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_peft_s() {
        let config: Config = serde_json::from_str(
            r#"{"r": 8, "lora_alpha": 16, "rank_pattern": {"q": 4},
                "alpha_pattern": {"^a.q": 1, "q": 2, "layers\\.[01]\\.v": 3, "(": 5}}"#,
        )
        .unwrap();
        for (module, alpha) in [
            ("a.q", 1.0),
            ("b.a.q", 2.0),
            ("q", 2.0),
            ("xq", 16.0),
            ("m.layers.1.v", 3.0),
            ("(", 5.0),
        ] {
            assert_eq!(config.alpha(module, Some(8)), Some(alpha), "{module}");
        }
        assert_eq!((config.scale("b.q"), config.scale("k")), (Some(0.5), Some(2.0)));
    }

    #[test]
    fn rank_stabilised_alpha_is_scaled_for_the_reader() {
        let config: Config =
            serde_json::from_str(r#"{"lora_alpha": 8, "use_rslora": true}"#).unwrap();
        // alpha / sqrt(rank) = (alpha sqrt(rank)) / rank
        assert_eq!(config.alpha("m", Some(16)), Some(32.0));
    }

    #[test]
    fn nulls_are_ignored() {
        let config: Config =
            serde_json::from_str(r#"{"alpha": 4, "alpha_pattern": null, "peft_type": "X"}"#)
                .unwrap();
        assert_eq!(config.alpha("m", None), Some(4.0));
    }
}
