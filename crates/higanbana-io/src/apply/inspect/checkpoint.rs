//! What is in a file that is no adapter.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::kinds;
use crate::{
    Checkpoint, Names,
    names::{Architecture, Component},
};

/// The tensors of a file as a whole.
#[derive(Debug, Serialize)]
pub struct Contents {
    /// The file.
    #[serde(serialize_with = "crate::lossy::path")]
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The published model family, if the UNet in it is one's.
    pub family: Option<&'static str>,
    /// The models in it, as far as they are known.
    pub models: Vec<&'static str>,
    /// What it looks like by its keys.
    pub looks_like: Vec<&'static str>,
    /// Why no adapter was found in it.
    pub no_adapter: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in them.
    pub parameters: usize,
    /// The same by element type.
    pub dtypes: BTreeMap<String, Count>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its tensors.
    pub keys: Vec<Row>,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its key.
    pub key: String,
    /// Element type.
    pub dtype: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// How many tensors, and values in them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub parameters: usize,
}

impl Contents {
    /// Of this file, in which there is no adapter for a reason. No tensor is read.
    pub fn of(file: &Checkpoint, no_adapter: String) -> Self {
        let names = Names::new(file.names());
        let mut dtypes = BTreeMap::<String, Count>::new();
        for info in file.names().iter().filter_map(|name| file.info(name)) {
            let count = dtypes.entry(info.dtype.to_string()).or_default();
            count.tensors += 1;
            count.parameters += info.shape.iter().product::<usize>();
        }
        let row = |key: &String| {
            let info = file.info(key)?;
            let (dtype, shape) = (info.dtype.to_string(), info.shape.clone());
            Some(Row { key: key.clone(), dtype, shape })
        };
        Self {
            file: file.path().into(),
            bytes: file.total_bytes(),
            family: family(file, &names),
            models: models(&names),
            looks_like: kinds::of(file.names()),
            no_adapter,
            tensors: file.names().len(),
            parameters: dtypes.values().map(|count| count.parameters).sum(),
            dtypes,
            notes: file.notes().to_vec(),
            metadata: file.metadata().clone(),
            keys: file.names().iter().filter_map(row).collect(),
        }
    }
}

/// SD 1 and 2 have the same UNet but for the width of the text that it attends to.
fn family(file: &Checkpoint, names: &Names) -> Option<&'static str> {
    match names.architecture()? {
        Architecture::Sdxl => Some("Stable Diffusion XL"),
        Architecture::Sd => {
            let text = file.names().iter().find(|name| name.ends_with("attn2.to_k.weight"));
            match text.and_then(|name| file.info(name)?.shape.get(1)) {
                Some(768) => Some("Stable Diffusion 1"),
                Some(1024) => Some("Stable Diffusion 2"),
                _ => Some("Stable Diffusion 1 or 2"),
            }
        }
    }
}

fn models(names: &Names) -> Vec<&'static str> {
    let known = [
        (Component::Unet, "unet"),
        (Component::TextEncoder, "text_encoder"),
        (Component::TextEncoder2, "text_encoder_2"),
    ];
    known.into_iter().filter(|(model, _)| names.has(*model)).map(|(_, name)| name).collect()
}
