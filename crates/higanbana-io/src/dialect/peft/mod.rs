//! What is in PEFT's and diffusers' files, as an algorithm's [`PeftForm`] says.

mod encode;

use std::{collections::BTreeMap, path::Path};

pub(super) use encode::{Module, Outgoing, Spelled};
use higanbana_core::{
    PeftForm,
    peft::{Acts, PeftModule},
};

use super::{config::Config, origin::Origin};
use crate::FileError;

/// A form of one of the registry's algorithms.
pub(super) type Form = &'static dyn PeftForm;

/// Puts a module of the file at `path` in LyCORIS's terms. Its configuration, and its path there, give it an
/// alpha where the file has none.
///
/// # Errors
/// When it acts as no update of its layer's weight does.
pub(super) fn decode(
    path: &Path,
    module: &str,
    tensors: &mut BTreeMap<String, Origin>,
    forms: &[Form],
    config: Option<(&Config, &str)>,
) -> Result<(), FileError> {
    // The form that has a place for most of the tensors.
    let places =
        |form: Form| form.tensors().iter().filter(|key| tensors.contains_key(**key)).count();
    let known = forms.iter().copied().filter(|form| places(*form) > 0);
    let Some(form) = known.max_by_key(|form| places(*form)) else { return Ok(()) };
    let config = config.filter(|_| !tensors.contains_key("alpha"));
    let shapes = tensors.iter().filter_map(|(key, origin)| Some((key.as_str(), origin.shape()?)));
    let before = PeftModule {
        shapes: shapes.collect(),
        rank: config.and_then(|(config, module)| config.rank(module)),
        alpha: config.and_then(|(config, module)| config.alpha(form, module)),
        options: config.map(|(config, _)| config.options()),
    };
    let Acts { alpha, factor: scaled, numbers } = form.read(&before).map_err(|reason| {
        FileError::CannotRead { path: path.into(), module: module.into(), reason }
    })?;
    if let Some((key, by)) = scaled
        && let Some(Origin::Tensor { factor, .. }) = tensors.get_mut(key)
    {
        *factor = by;
    }
    let numbers = alpha.map(|alpha| ("alpha", alpha)).into_iter().chain(numbers);
    tensors.extend(numbers.map(|(key, number)| (key.to_string(), Origin::Number(number))));
    Ok(())
}
