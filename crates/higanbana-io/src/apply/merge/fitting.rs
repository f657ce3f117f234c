//! What is done with layers of an adapter file that do not fit the base.

use higanbana_core::{AdapterError, Registry, SiteKind, Tensors, nearest};

use crate::{
    AdapterReader, FileError,
    apply::{ApplyError, Parameter},
};

/// What a user has chosen; by default, what does not fit is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitting {
    /// Modules to leave out, by their names in the files.
    pub leave_out: Vec<String>,
    /// Whether an update of fewer input channels than the base's convolution has is one of the first: that
    /// of SD's first layer in a model of inpainting, which has nine channels instead of four.
    pub pad: bool,
}

impl Fitting {
    /// Leaves modules out of the files that have them.
    pub(super) fn leave_out(&self, readers: &mut [AdapterReader]) -> Result<(), FileError> {
        for name in &self.leave_out {
            let mut found = false;
            for reader in readers.iter_mut() {
                found |= reader.leave_out(name);
            }
            if let (false, Some(first)) = (found, readers.first()) {
                let all = readers.iter().flat_map(|reader| reader.modules());
                let nearest = nearest(name, all, 3);
                let (path, module) = (first.path().into(), name.clone());
                return Err(FileError::NoSuchModule { path, module, nearest });
            }
        }
        Ok(())
    }

    /// The part of a parameter that the adapter of these tensors is for.
    pub(super) fn fitted(
        &self,
        parameter: Parameter,
        tensors: &Tensors,
        registry: &Registry,
    ) -> Parameter {
        let kind = parameter.site.kind;
        let is_convolution = matches!(kind, SiteKind::Conv1d | SiteKind::Conv2d | SiteKind::Conv3d);
        if !self.pad || !is_convolution {
            return parameter;
        }
        let outline = registry.detect(kind, tensors).map(|it| it.outline(kind, tensors));
        let shape = outline.map(|outline| outline.shape).unwrap_or_default();
        match shape.get(1) {
            // Where a kernel is unfolded, its taps and channels cannot be told apart.
            Some(Some(inputs)) if shape.len() > 2 && *inputs < parameter.site.input() => {
                parameter.of_first_inputs(*inputs)
            }
            _ => parameter,
        }
    }

    /// Says what can be chosen where a module does not fit.
    pub(super) fn advise(error: ApplyError) -> ApplyError {
        match error {
            ApplyError::Adapter { path, reason: reason @ AdapterError::Shape { .. } } => {
                ApplyError::Unfit { path, reason: Box::new(reason) }
            }
            error => error,
        }
    }
}
