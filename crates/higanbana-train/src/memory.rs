//! The least memory that a training needs, told before a weight is read.
//!
//! A bound from below, as [`higanbana_diffusion::pipeline::Memory`] has them, in bytes: the weights of the
//! model; of a model that is trained itself its gradient, and its average where one is kept; and what the
//! backward pass needs of a batch. Adapters, states of optimizers and text encoders come on top.

use burn::tensor::DType;
use higanbana_diffusion::pipeline::Memory;

use crate::{Recipe, TrainError};

/// The least number of bytes of a [located](Recipe::located) recipe.
///
/// # Errors
/// When a configuration of the model cannot be read.
pub fn least(recipe: &Recipe) -> Result<f64, TrainError> {
    let memory = Memory::read(&recipe.model, recipe.config.as_deref())?;
    let (dtype, train) = (DType::from(recipe.train.dtype), &recipe.train);
    let copies = match (recipe.trains_model(), train.ema) {
        (false, _) => 0.0,
        (true, None) => 1.0,
        (true, Some(_)) => 2.0,
    };
    let trained = copies * (memory.parameters() * DType::F32.size()) as f64;
    let [width, height] = recipe.data.resolution.size();
    let again = train.gradient_checkpointing;
    let graph = memory.graph(train.batch, [height, width], dtype, again);
    Ok(memory.weights(dtype) + trained + graph)
}
