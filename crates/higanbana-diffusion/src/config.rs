//! Reading the JSON configurations of diffusers and transformers.
//!
//! A field is taken by name, so that every message can name it; what nobody took in the end is
//! refused, because a model that needs it would silently compute something else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ModelError;

/// The fields of a configuration that have not been taken yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    path: PathBuf,
    left: Map<String, Value>,
}

impl Fields {
    /// Reads a file and checks the class that it names, where it names one.
    ///
    /// # Errors
    /// When it cannot be read, is not a JSON object, or belongs to a class that is not in `classes`.
    pub fn read(path: &Path, classes: &[&str]) -> Result<Self, ModelError> {
        let fields = Self::open(path)?;
        match fields.class() {
            Some(class) if !classes.contains(&class) => Err(ModelError::Class {
                path: path.into(),
                found: class.into(),
                expected: classes.join(" or "),
            }),
            _ => Ok(fields),
        }
    }

    /// Reads a file, whatever class it names.
    ///
    /// # Errors
    /// When it cannot be read or is not a JSON object.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ModelError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    /// Parses the text of a configuration; `path` is for messages.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ModelError> {
        let left = serde_json::from_str(text).map_err(|error| ModelError::Config {
            path: path.into(),
            reason: format!("is not a JSON object ({error})"),
        })?;
        Ok(Self { path: path.into(), left })
    }

    /// The class that the configuration names: diffusers' `_class_name`, transformers'
    /// `architectures`.
    pub fn class(&self) -> Option<&str> {
        let architecture = || self.left.get("architectures")?.get(0);
        self.left.get("_class_name").or_else(architecture)?.as_str()
    }

    /// Takes a field, or the default where the configuration is silent.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str, default: T) -> Result<T, ModelError> {
        match self.left.remove(name) {
            None => Ok(default),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| self.wrong(name, format!("cannot be {value} ({error})"))),
        }
    }

    /// Takes a field that is true or false; null is false, as Python has it.
    ///
    /// # Errors
    /// When the value is of another type.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.take(name, Some(default))?.unwrap_or_default())
    }

    /// Whether a field is a list.
    pub fn is_list(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(Value::is_array)
    }

    /// Takes a field that is one value, or one for each of `count` blocks.
    ///
    /// # Errors
    /// When the value is of another type, or a list of another length.
    pub fn per_block<T: DeserializeOwned + Clone>(
        &mut self,
        name: &str,
        default: T,
        count: usize,
    ) -> Result<Vec<T>, ModelError> {
        if !self.is_list(name) {
            return Ok(vec![self.take(name, default)?; count]);
        }
        let values: Vec<T> = self.take(name, Vec::new())?;
        match values.len() == count {
            true => Ok(values),
            false => {
                let reason = format!("has {} values for {count} blocks", values.len());
                Err(self.wrong(name, reason))
            }
        }
    }

    /// Takes a field that can have one value only: the one given, also its default. Null will do
    /// for false.
    ///
    /// # Errors
    /// When it has another.
    pub fn only(&mut self, name: &str, supported: impl Into<Value>) -> Result<(), ModelError> {
        let supported = supported.into();
        match self.left.remove(name) {
            Some(found) if !same(&found, &supported) => Err(ModelError::Unsupported {
                path: self.path.clone(),
                field: name.into(),
                found: found.to_string(),
                supported: supported.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Gives a field another value.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.left.insert(name.into(), value.into());
    }

    /// The fields as a JSON object, without those that are null, as which they have their defaults.
    pub fn text(&self) -> String {
        let given = self.left.iter().filter(|(_, value)| !value.is_null());
        let given: Map<String, Value> = given.map(|(k, v)| (k.clone(), v.clone())).collect();
        format!("{:#}\n", Value::Object(given))
    }

    /// Drops fields that change nothing in what is computed.
    pub fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.left.remove(*name)));
    }

    /// An error about a field.
    pub fn wrong(&self, field: &str, reason: impl AsRef<str>) -> ModelError {
        let reason = format!("field {field} {}", reason.as_ref());
        ModelError::Config { path: self.path.clone(), reason }
    }

    /// Refuses a number of layers that is none: a model of so many cannot even be described.
    ///
    /// # Errors
    /// When it is too large.
    pub fn at_most(&self, field: &str, layers: usize) -> Result<(), ModelError> {
        const MOST: usize = 1000;
        match layers <= MOST {
            true => Ok(()),
            false => Err(self.wrong(field, format!("is {layers}; {MOST} at most"))),
        }
    }

    /// Refuses what is left. Fields that begin with an underscore are notes of who wrote the file.
    ///
    /// # Errors
    /// When anything is left.
    pub fn finish(self) -> Result<(), ModelError> {
        let fields: Vec<String> =
            self.left.into_iter().map(|(name, _)| name).filter(|n| !n.starts_with('_')).collect();
        match fields.is_empty() {
            true => Ok(()),
            false => Err(ModelError::UnknownFields { path: self.path, fields }),
        }
    }
}

/// Equality of JSON, with 1 and 1.0 the same number and null as good as false.
fn same(a: &Value, b: &Value) -> bool {
    let no = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    a == b || (no(a) && no(b)) || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(Path::new("c.json"), text).unwrap()
    }

    #[test]
    fn values_lists_and_defaults() {
        let text = r#"{"a": 3, "b": [1, 2], "c": 1.0, "no": null, "none": null, "_note": 7}"#;
        let mut fields = fields(text);
        assert!(!fields.flag("no", true).unwrap() && fields.flag("absent", true).unwrap());
        fields.only("none", false).unwrap();
        assert_eq!(fields.take("a", 1).unwrap(), 3);
        assert_eq!(fields.take("absent", 5).unwrap(), 5);
        assert_eq!(fields.per_block("b", 0, 2).unwrap(), [1, 2]);
        assert_eq!(fields.per_block("absent", 4, 2).unwrap(), [4, 4]);
        fields.only("c", 1).unwrap();
        fields.finish().unwrap();
    }

    #[test]
    fn every_message_names_the_field() {
        let text = r#"{"a": null, "b": [1], "c": "relu", "d": 1, "_class_name": "X"}"#;
        let mut fields = fields(text);
        let message = |error: ModelError| error.to_string();
        let error = message(fields.take("a", 1usize).unwrap_err());
        assert!(error.starts_with("c.json: field a cannot be null ("), "{error}");
        let error = message(fields.per_block("b", 1, 2).unwrap_err());
        assert_eq!(error, "c.json: field b has 1 values for 2 blocks");
        let error = message(fields.only("c", "silu").unwrap_err());
        assert_eq!(error, r#"c.json: field c is "relu"; only "silu" is supported"#);
        let error = message(fields.finish().unwrap_err());
        assert!(error.starts_with("c.json: field d is unknown;"), "{error}");
    }
}
