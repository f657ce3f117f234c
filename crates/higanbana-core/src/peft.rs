//! How PEFT holds an algorithm, and diffusers after it.
//!
//! A file of PEFT's is tensors under names of its own and one configuration, `adapter_config.json`: the
//! algorithm (`peft_type`), rank and alpha by module, and options of the algorithm for all modules alike.
//! diffusers has the tensors, but no alpha.

use std::{collections::BTreeMap, fmt::Debug};

use serde_json::{Map, Value};

use crate::Parts;

/// The form of an algorithm in these files. "Ours" are the names and shapes of [`crate::Adapter::write`].
pub trait PeftForm: Debug + Sync {
    /// `peft_type`.
    fn name(&self) -> &'static str;

    /// Our keys of the tensors that it holds; `alpha` is in the configuration.
    fn tensors(&self) -> &'static [&'static str] {
        &[]
    }

    /// Their keys, with or without `.weight`, that are not ours, and which of ours they are. The first of
    /// several is written. One that begins with `_` ends the last part of the module's path, as `_lora.up`
    /// does in `attn.to_q_lora.up`.
    fn names(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The tensor of ours whose layer has a bias in their files, and our key of that.
    fn bias(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Their keys that are not read, and why.
    fn unread(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The tensor that takes `alpha / rank` as a factor where a file has no alpha, as those of diffusers;
    /// `None` where diffusers does not hold the algorithm.
    fn scaled(&self) -> Option<&'static str> {
        None
    }

    /// Option of the configuration that holds alpha.
    fn alpha(&self) -> &'static str {
        "alpha"
    }

    /// What a value of an option that only some algorithms have does to the tensors' meaning.
    fn meaning(&self, _option: &str, _value: &Value) -> Meaning {
        Meaning::Unknown
    }

    /// The shape there of one of our tensors.
    fn their_shape(&self, _key: &str, shape: &[usize]) -> Vec<usize> {
        shape.into()
    }

    /// Our shape of one of their tensors.
    fn our_shape(&self, _key: &str, shape: &[usize]) -> Vec<usize> {
        shape.into()
    }

    /// The configuration of modules that have no tensors but [`PeftForm::tensors`].
    ///
    /// # Errors
    /// When it cannot say how one of them acts.
    fn write(&self, _modules: &[Parts]) -> Result<Configured, NotHeld> {
        Ok(Configured::default())
    }

    /// How a module acts, of which shapes and configuration are known.
    ///
    /// # Errors
    /// When no update of its layer's weight acts so: what it is, and the remedy.
    fn read(&self, module: &PeftModule) -> Result<Acts, &'static str> {
        Ok(Acts { alpha: module.alpha, ..Acts::default() })
    }
}

/// Of an algorithm that PEFT parameterises otherwise, which is not read.
#[derive(Debug)]
pub struct Unread {
    /// `peft_type`.
    pub name: &'static str,
    /// Keys, and why they are not read.
    pub keys: &'static [(&'static str, &'static str)],
}

impl PeftForm for Unread {
    fn name(&self) -> &'static str {
        self.name
    }

    fn unread(&self) -> &'static [(&'static str, &'static str)] {
        self.keys
    }
}

/// What an option does to the meaning of the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: it is about training, or the tensors tell it themselves.
    None,
    /// The algorithm has no such option or value, as far as is known here.
    Unknown,
    /// The update is another one: why, and the remedy.
    Other(String),
}

/// What the configuration says of all modules.
#[derive(Debug, Default)]
pub struct Configured {
    /// Rank and alpha of each, where the algorithm has them.
    pub scales: Vec<(usize, f64)>,
    /// Options for all alike.
    pub options: Vec<(&'static str, Value)>,
}

/// A module that the form has no place for.
#[derive(Debug)]
pub struct NotHeld {
    /// Its name.
    pub module: String,
    /// The tensor, or what about it.
    pub what: String,
}

impl NotHeld {
    /// Of a module.
    pub fn new(module: &Parts, what: impl ToString) -> Self {
        Self { module: module.module().into(), what: what.to_string() }
    }
}

/// A module of a file before its tensors are read.
#[derive(Debug)]
pub struct PeftModule<'a> {
    /// Our shapes of its tensors, by our keys.
    pub shapes: BTreeMap<&'a str, &'a [usize]>,
    /// Its rank, as configured.
    pub rank: Option<f64>,
    /// Its alpha, as configured; none where it has a tensor of that name.
    pub alpha: Option<f64>,
    /// The configuration's other options.
    pub options: Option<&'a Map<String, Value>>,
}

impl<'a> PeftModule<'a> {
    /// Shape of one of the tensors; empty if it is not there.
    pub fn shape(&self, key: &str) -> &'a [usize] {
        self.shapes.get(key).copied().unwrap_or_default()
    }

    /// Whether an option is `true`.
    pub fn is_set(&self, option: &str) -> bool {
        self.options.and_then(|options| options.get(option)) == Some(&Value::Bool(true))
    }
}

/// What makes the tensors of a module ours.
#[derive(Debug, Default)]
pub struct Acts {
    /// Our `alpha`.
    pub alpha: Option<f64>,
    /// A tensor to be multiplied, and its factor.
    pub factor: Option<(&'static str, f64)>,
    /// Tensors of one number that stand for options of the configuration.
    pub numbers: Vec<(&'static str, f64)>,
}
