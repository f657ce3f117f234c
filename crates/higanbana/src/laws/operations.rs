//! What the toolkit itself does with adapters, apart from what each of them computes.

use burn::tensor::Tensor;
use higanbana_adapters::inject::{self, InjectError};
use higanbana_core::{DynAdapter, PathChoice, Site, Slot};

use super::{Subject, dropout, layer::Model};

/// What is put into a model.
pub(super) type Adapters = Vec<(Site, DynAdapter)>;

/// A model that operations on sets of adapters give.
pub(super) type Edited = Result<Model, InjectError>;

/// The operations that laws go through: in their tests one of them is faulty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operations {
    /// [`Slot::weight`].
    pub weight: fn(&Slot, Tensor<2>) -> Tensor<2>,
    /// [`inject::attach`].
    pub attach: fn(&Model, &str, f64, Adapters) -> Edited,
    /// [`inject::merge`].
    pub merge: fn(&Model) -> Model,
    /// [`inject::set_strength`].
    pub set_strength: fn(&Model, &str, f64) -> Edited,
    /// [`inject::detach`].
    pub detach: fn(&Model, &str) -> Edited,
    /// [`Model::act_as_own`].
    pub act: fn(&Model, &Subject, PathChoice) -> Option<Vec<f64>>,
    /// The adapted model in a step of training, or outside of it.
    pub in_step: fn(&Subject, Option<u64>) -> Model,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            weight: Slot::weight,
            attach: inject::attach,
            merge: inject::merge,
            set_strength: inject::set_strength,
            detach: inject::detach,
            act: Model::act_as_own,
            in_step: dropout::in_step,
        }
    }
}
