//! What PEFT keeps outside the tensors: rank and alpha by module, and options.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use higanbana_core::peft::Meaning;
use regex::Regex;
use serde_json::{Map, Value};

use super::peft::Form;
use crate::{Checkpoint, FileError, names::PEFT};

/// The entry of a diffusers file's metadata.
pub(super) const METADATA: &str = "lora_adapter_metadata";
/// No such file is longer; a larger one is another file by mistake.
const MAX_BYTES: u64 = 1 << 24;

/// Where the configuration of a PEFT adapter lies, beside its file.
pub fn config_path(adapter: &Path) -> PathBuf {
    adapter.with_file_name("adapter_config.json")
}

/// Options of every algorithm about training, or about which layers were chosen.
const HARMLESS: [&str; 12] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "peft_version",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];

/// Options by which tensors of the model itself are trained and saved along, to replace its own.
const SAVED: [&str; 3] = ["bias", "modules_to_save", "trainable_token_indices"];

/// PEFT's configuration of one model's adapter, as far as the tensors' meaning depends on it.
#[derive(Debug, Default)]
pub(super) struct Config {
    peft_type: Option<String>,
    r: Option<f64>,
    rank_pattern: Map<String, Value>,
    alpha_pattern: Map<String, Value>,
    options: Map<String, Value>,
}

impl Config {
    /// Of all options of a file; `null` is as good as none. What has not the type that PEFT gives it is refused
    /// by its name.
    fn read(path: &Path, mut options: Map<String, Value>) -> Result<Self, FileError> {
        let mut take = |option: &str| options.remove(option).filter(|value| !value.is_null());
        let no = |option: &str, value: &Value, what: &str| FileError::Config {
            path: path.into(),
            reason: invalid(&format!("{option} is {value}, {what}")),
        };
        let peft_type = match take("peft_type") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(other) => return Err(no("peft_type", &other, "no name")),
        };
        let rank = |option: &str, value: &Value| match value.as_f64() {
            Some(rank) if rank > 0.0 => Ok(rank),
            _ => Err(no(option, value, "no rank")),
        };
        let (r, none) = match take("r") {
            Some(value) if value.as_f64() == Some(0.0) => (None, Some(value)),
            given => (given.map(|value| rank("r", &value)).transpose()?, None),
        };
        let mut pattern = |option: &str| match take(option) {
            None => Ok(Map::new()),
            Some(Value::Object(patterns)) => Ok(patterns),
            Some(other) => Err(no(option, &other, "no object")),
        };
        let [rank_pattern, alpha_pattern] = [pattern("rank_pattern")?, pattern("alpha_pattern")?];
        for (module, value) in &rank_pattern {
            rank(&format!("rank_pattern of {module:?}"), value)?;
        }
        if let Some((module, value)) = alpha_pattern.iter().find(|(_, value)| !value.is_number()) {
            return Err(no(&format!("alpha_pattern of {module:?}"), value, "no number"));
        }
        // Whether the algorithm has no rank, its form knows.
        options.extend(none.map(|value| ("r".to_string(), value)));
        Ok(Self { peft_type, r, rank_pattern, alpha_pattern, options })
    }

    /// A module's rank.
    pub fn rank(&self, module: &str) -> Option<f64> {
        pattern(&self.rank_pattern, module).or(self.r)
    }

    /// A module's alpha.
    pub fn alpha(&self, form: Form, module: &str) -> Option<f64> {
        pattern(&self.alpha_pattern, module).or_else(|| self.options.get(form.alpha())?.as_f64())
    }

    /// What it has besides.
    pub fn options(&self) -> &Map<String, Value> {
        &self.options
    }

    /// Refuses an algorithm whose tensors may be called as those of another one, and are not these.
    fn expect_known(&self, path: &Path, forms: &[Form]) -> Result<(), FileError> {
        match &self.peft_type {
            Some(name) if forms.iter().all(|form| form.name() != name) => {
                let reason = format!(
                    "its peft_type is {}, an algorithm that is not read; merge it with PEFT",
                    name.escape_debug()
                );
                Err(FileError::Config { path: path.into(), reason })
            }
            _ => Ok(()),
        }
    }

    /// The meaning of an option to its algorithm; to any, where that is not known.
    fn meaning(&self, option: &str, value: &Value, forms: &[Form]) -> Meaning {
        if HARMLESS.contains(&option) || !is_set(value) {
            return Meaning::None;
        }
        let is_own = |form: &&Form| self.peft_type.as_deref() == Some(form.name());
        let own: Vec<Form> = forms.iter().filter(is_own).copied().collect();
        if option == "r" && own.iter().all(|form| form.meaning(option, value) != Meaning::None) {
            return Meaning::Other(invalid(&format!("{option} is {value}, no rank")));
        }
        let forms = if own.is_empty() { forms } else { &own };
        if forms.iter().any(|form| form.alpha() == option) {
            return if value.is_number() {
                Meaning::None
            } else {
                Meaning::Other(invalid(&format!("{option} is {value}, no number")))
            };
        }
        let mut meanings = forms.iter().map(|form| form.meaning(option, value));
        meanings.find(|meaning| *meaning != Meaning::Unknown).unwrap_or(Meaning::Unknown)
    }
}

/// The first pattern that fits the whole of `module`, or of its end after a dot.
fn pattern(patterns: &Map<String, Value>, module: &str) -> Option<f64> {
    let fits = |pattern: &str| {
        let whole = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
        whole.map_or(pattern == module, |whole| whole.is_match(module))
    };
    let (_, value) = patterns.iter().find(|(pattern, _)| fits(pattern))?;
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
        let options = parse(&path, serde_json::from_str(&text))?;
        Ok(Some(Self(vec![(PEFT.into(), Config::read(&path, options)?)])))
    }

    /// Of PEFT's modules, without a word on them.
    pub fn of_defaults() -> Self {
        Self(vec![(PEFT.into(), Config::default())])
    }

    /// From [`METADATA`] in the header, which diffusers writes since 0.34.
    pub fn within(checkpoint: &Checkpoint) -> Result<Self, FileError> {
        let Some(text) = checkpoint.metadata().get(METADATA) else { return Ok(Self::default()) };
        let path = checkpoint.path();
        let entries: Map<String, Value> = parse(path, serde_json::from_str(text))?;
        // A pipeline's entries carry its component's name, those of a single model none.
        let mut models = BTreeMap::<String, Map<String, Value>>::new();
        for (key, value) in entries {
            let (model, option) = match key.rsplit_once('.') {
                Some((model, option)) => (format!("{model}."), option),
                None => (String::new(), key.as_str()),
            };
            models.entry(model).or_default().insert(option.into(), value);
        }
        let read = |(model, options)| Ok((model, Config::read(path, options)?));
        models.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The configuration for a module and the module's path within its model.
    pub fn find<'a>(&self, module: &'a str) -> Option<(&Config, &'a str)> {
        self.0.iter().find_map(|(prefix, config)| Some((config, module.strip_prefix(prefix)?)))
    }

    /// Refuses options under which the tensors of the file at `path` are not what they look like, or
    /// under which the tensors `saved` along replace the model's own. What is to be said of the others,
    /// one line each.
    pub fn check(
        &self,
        path: &Path,
        forms: &[Form],
        saved: &[&str],
    ) -> Result<Vec<String>, FileError> {
        let mut notes = Vec::new();
        for (_, config) in &self.0 {
            config.expect_known(path, forms)?;
            for (option, value) in &config.options {
                match config.meaning(option, value, forms) {
                    _ if SAVED.contains(&&**option) => {
                        if let (true, Some(first)) =
                            (is_set(value) && value != "none", saved.first())
                        {
                            let reason = format!(
                                "{option} is {value}, so that {first:?} and the like are to replace \
                                 the model's own, which no adapter does; merge it with PEFT"
                            );
                            return Err(FileError::Config { path: path.into(), reason });
                        }
                    }
                    Meaning::None => (),
                    Meaning::Other(reason) => {
                        return Err(FileError::Config { path: path.into(), reason });
                    }
                    Meaning::Unknown => notes.push(format!(
                        "{}: PEFT's option {} is not known and ignored",
                        path.display(),
                        option.escape_debug()
                    )),
                }
            }
        }
        Ok(notes)
    }
}

fn parse<T>(path: &Path, parsed: serde_json::Result<T>) -> Result<T, FileError> {
    parsed.map_err(|e| {
        let reason = invalid(&e.to_string().replace(char::is_control, " "));
        FileError::Config { path: path.into(), reason }
    })
}

fn invalid(what: &str) -> String {
    format!("the adapter's configuration is invalid ({what}); save the adapter again")
}

/// Whether an option has a value other than none, no, and nothing.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use higanbana_adapters::registry;
    use serde_json::json;

    use super::*;

    fn read(options: Value) -> Result<Config, FileError> {
        Config::read("f".as_ref(), options.as_object().unwrap().clone())
    }

    fn config(options: Value) -> Config {
        read(options).unwrap()
    }

    fn forms() -> Vec<Form> {
        registry().iter().filter_map(|kind| kind.peft()).collect()
    }

    /// The form whose alpha has this name.
    fn form(alpha: &str) -> Form {
        forms().into_iter().find(|form| form.alpha() == alpha).unwrap()
    }

    #[test]
    fn patterns_are_peft_s() {
        let config = config(json!({
            "r": 8, "lora_alpha": 16, "rank_pattern": {"q": 4},
            "alpha_pattern": {"^a.q": 1, "q": 2, "layers\\.[01]\\.v": 3, "(": 5},
        }));
        for (module, alpha) in [
            ("a.q", 1.0),
            ("b.a.q", 2.0),
            ("q", 2.0),
            ("xq", 16.0),
            ("m.layers.1.v", 3.0),
            ("(", 5.0),
        ] {
            assert_eq!(config.alpha(form("lora_alpha"), module), Some(alpha), "{module}");
        }
        assert_eq!((config.rank("b.q"), config.rank("k")), (Some(4.0), Some(8.0)));
    }

    #[test]
    fn nulls_are_ignored() {
        let config = config(json!({"alpha": 4, "alpha_pattern": null, "peft_type": "X"}));
        assert_eq!(config.alpha(form("alpha"), "m"), Some(4.0));
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_its_option() {
        for (options, expected) in [
            (json!({"peft_type": 5}), "(peft_type is 5, no name)"),
            (json!({"r": "8"}), "(r is \"8\", no rank)"),
            (json!({"r": 0}), "(r is 0, no rank)"),
            (json!({"rank_pattern": ["q"]}), "(rank_pattern is [\"q\"], no object)"),
            (json!({"rank_pattern": {"q": "4"}}), "(rank_pattern of \"q\" is \"4\", no rank)"),
            (json!({"rank_pattern": {"q": -4}}), "(rank_pattern of \"q\" is -4, no rank)"),
            (json!({"alpha_pattern": {"q": true}}), "(alpha_pattern of \"q\" is true, no number)"),
            (json!({"lora_alpha": "16"}), "(lora_alpha is \"16\", no number)"),
            (json!({"lora_alpha": [1]}), "(lora_alpha is [1], no number)"),
            (json!({"use_rslora": "yes"}), "use_rslora is \"yes\", neither true nor false"),
            (json!({"use_rslora": 1}), "use_rslora is 1, neither true nor false"),
            (json!({"use_dora": "False"}), "use_dora is \"False\", neither true nor false"),
            (json!({"init_lora_weights": ["pissa"]}), "init_lora_weights is [\"pissa\"], neither"),
        ] {
            let checked = read(options).and_then(|config| {
                Configs(vec![(String::new(), config)]).check("f".as_ref(), &forms(), &[])
            });
            let message = checked.unwrap_err().to_string();
            assert!(message.starts_with("f: ") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_peft_writes_by_default_is_known() {
        // Of `LoraConfig`, `LoHaConfig` and `LoKrConfig` of PEFT 0.21.2.
        let common = json!({
            "auto_mapping": {"base_model_class": "X"}, "inference_mode": true,
            "peft_version": "0.21.2", "target_modules": ["a"], "bias": "none",
        });
        let tuner =
            json!({"init_weights": true, "use_effective_conv2d": true, "rank_dropout": 0.1});
        for (peft_type, own) in [
            (
                "LORA",
                json!({
                    "alora_invocation_tokens": null, "arrow_config": null, "eva_config": null,
                    "fan_in_fan_out": false, "init_lora_weights": true, "loftq_config": {},
                    "lora_dropout": 0.1, "megatron_core": "megatron.core", "lora_alpha": 8,
                    "qalora_group_size": 16, "use_qalora": false, "use_rslora": true,
                }),
            ),
            ("LOHA", tuner.clone()),
            ("LOKR", tuner),
            ("LOKR", json!({"decompose_factor": -1, "rank_dropout_scale": true, "alpha": 1})),
        ] {
            let options = [&common, &own].map(|options| options.as_object().unwrap().clone());
            let mut options: Map<String, Value> = options.into_iter().flatten().collect();
            options.insert("peft_type".into(), json!(peft_type));
            let configs = Configs(vec![(String::new(), config(Value::Object(options)))]);
            assert_eq!(
                configs.check("f".as_ref(), &forms(), &["x"]).unwrap(),
                [""; 0],
                "{peft_type}"
            );
        }
    }

    #[test]
    fn what_is_saved_along_to_replace_the_model_s_own_is_refused() {
        let check = |options: Value, saved: &[&str]| {
            Configs(vec![(String::new(), config(options))]).check("f".as_ref(), &forms(), saved)
        };
        for (option, value) in [
            ("bias", json!("all")),
            ("modules_to_save", json!(["head"])),
            ("trainable_token_indices", json!([1, 2])),
        ] {
            let message = check(json!({option: value}), &["a.bias"]).unwrap_err().to_string();
            let expected =
                format!("f: {option} is {value}, so that \"a.bias\" and the like are to replace");
            assert!(message.starts_with(&expected), "{message}");
            // PEFT does not save the biases of every release, and nothing else is lost then.
            assert_eq!(check(json!({option: value}), &[]).unwrap(), [""; 0]);
        }
        assert_eq!(check(json!({"bias": "none"}), &["a.bias"]).unwrap(), [""; 0]);
        let message = check(json!({"peft_type": "ADALORA"}), &[]).unwrap_err().to_string();
        assert!(message.starts_with("f: its peft_type is ADALORA, an algorithm"), "{message}");
    }

    #[test]
    fn options_are_those_of_their_algorithm() {
        let meaning = |config: Value, option: &str| {
            let config = self::config(config);
            config.meaning(option, &json!(1), &forms())
        };
        assert_eq!(meaning(json!({"peft_type": "LOKR"}), "decompose_factor"), Meaning::None);
        assert_eq!(meaning(json!({"peft_type": "LOHA"}), "decompose_factor"), Meaning::Unknown);
        // Of any, where it is not known.
        assert_eq!(meaning(json!({}), "decompose_factor"), Meaning::None);
        assert_eq!(meaning(json!({"peft_type": "X"}), "novel"), Meaning::Unknown);
        assert!(matches!(meaning(json!({}), "fan_in_fan_out"), Meaning::Other(_)));
    }
}
