//! The vector of a token, and that of its position.

use burn::{
    module::{Module, Param},
    nn::{Embedding, EmbeddingConfig},
    tensor::{Device, Int, Tensor, module::embedding},
};

use super::ClipConfig;

/// The vector of a token plus that of its position.
///
/// Tokens that were learnt besides those of the vocabulary (textual inversion, arXiv:2208.01618) have rows of
/// their own behind the vocabulary's, so that they can be trained, and left out of a model's file, by
/// themselves.
#[derive(Module, Debug)]
pub struct CLIPTextEmbeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
    /// Of each learnt token, `[vectors, width]` in the element type of training.
    learnt: Vec<Param<Tensor<2>>>,
}

impl CLIPTextEmbeddings {
    pub(super) fn new(config: &ClipConfig, device: &Device) -> Self {
        let embedding = |count| EmbeddingConfig::new(count, config.width).init(device);
        Self {
            token_embedding: embedding(config.vocabulary),
            position_embedding: embedding(config.positions),
            learnt: Vec::new(),
        }
    }

    pub(super) fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let length = ids.dims()[1];
        let positions = self.position_embedding.weight.val().narrow(0, 0, length);
        self.tokens(ids) + positions.unsqueeze_dim(0)
    }

    /// The vectors of tokens alone.
    pub(super) fn tokens(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        if self.learnt.is_empty() {
            return self.token_embedding.forward(ids);
        }
        let table = self.token_embedding.weight.val();
        let ([count, width], dtype) = (table.dims(), table.dtype());
        let learnt = self.learnt.iter().map(|rows| rows.val().cast(dtype)).collect();
        let others = embedding(Tensor::cat(learnt, 0), (ids.clone() - count as i32).clamp_min(0));
        let is_other = ids.clone().greater_equal_elem(count as i32);
        let [batch, length] = ids.dims();
        let is_other = is_other.unsqueeze_dim::<3>(2).expand([batch, length, width]);
        embedding(table, ids.clamp_max(count as i32 - 1)).mask_where(is_other, others)
    }

    pub(super) fn device(&self) -> Device {
        self.position_embedding.weight.val().device()
    }

    pub(super) fn learnt(&self) -> &[Param<Tensor<2>>] {
        &self.learnt
    }

    /// Number of learnt rows.
    pub(super) fn rows(&self) -> usize {
        self.learnt.iter().map(|rows| rows.lazy_shape()[0]).sum()
    }

    /// With a token more, which is not trained.
    pub(super) fn learn(mut self, vectors: Tensor<2>) -> Self {
        self.learnt.push(Param::from_tensor(vectors).set_require_grad(false));
        self
    }

    /// With those of the learnt tokens trained that `which` says.
    pub(super) fn training(self, which: &[bool]) -> Self {
        let learnt = self.learnt.into_iter().zip(which);
        Self { learnt: learnt.map(|(rows, is)| rows.set_require_grad(*is)).collect(), ..self }
    }
}
