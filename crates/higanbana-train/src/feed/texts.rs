//! What samples say, as the UNet takes it.

use burn::tensor::Tensor;
use higanbana_diffusion::{
    Pipeline,
    pipeline::{Text, captions},
};

use super::Feed;
use crate::{
    TrainError,
    data::{
        cache::{self, Tensors},
        notes::Kind,
    },
    network::Network,
};

impl Feed {
    /// That the text encoders know every text of an image; takes note of those that they cut.
    pub(super) fn check_texts(
        &mut self,
        index: usize,
        pipeline: &Pipeline,
    ) -> Result<(), TrainError> {
        let path = self.pictures[index].path.clone();
        let mut cut = None;
        for text in self.texts_of(index) {
            for encoder in &pipeline.encoders {
                let reason = |error| format!("its caption cannot be used: {error}");
                let tokens = encoder.tokenizer.tokens(&text);
                let tokens = tokens.map_err(|error| TrainError::Data {
                    path: path.clone(),
                    reason: reason(error),
                })?;
                // Begin and end take a place each.
                let most = encoder.model.config().positions.saturating_sub(2) * self.data.chunks;
                cut = cut.or((tokens.len() > most).then_some(most));
            }
        }
        cut.into_iter().for_each(|most| self.notes.add(Kind::Cut(most), &path));
        Ok(())
    }

    /// The texts of a batch: from the cache, or, where there is a network that trains the encoders, anew.
    pub(super) fn texts(
        &mut self,
        texts: &[String],
        pipeline: &Pipeline,
        network: Option<&Network>,
    ) -> Result<Text, TrainError> {
        let (count, skip) = (self.data.chunks, self.data.clip_skip);
        let tokenizers = pipeline.encoders.iter().map(|encoder| &encoder.tokenizer);
        if let Some(network) = network.filter(|network| network.trains_text()) {
            let models: Vec<_> = tokenizers.zip(&network.encoders).collect();
            return Ok(captions(&models, texts, count, skip)?);
        }
        let models: Vec<_> = pipeline.encoders.iter().map(|e| (&e.tokenizer, &e.model)).collect();
        let mut encoded = Vec::new();
        for text in texts {
            let about = [count as u64, skip as u64].map(u64::to_le_bytes).concat();
            let key = cache::key(&[b"text", &self.text, &about, text.as_bytes()]);
            let make = || {
                let made = captions(&models, std::slice::from_ref(text), count, skip)?;
                Ok(Tensors::from([
                    ("context".to_string(), made.context.into_data()),
                    ("pooled".to_string(), made.pooled.into_data()),
                ]))
            };
            // Of captions that change there is no end.
            let fixed = self.concepts.iter().all(|it| it.captions(&self.data).is_fixed());
            encoded.push(if fixed { self.cache.get(key, make)? } else { make()? });
        }
        let on = |name: &str| encoded.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
        let options = (&Network::device(pipeline), pipeline.dtype);
        let context = on("context").into_iter().map(|data| Tensor::from_data(data, options));
        let pooled = on("pooled").into_iter().map(|data| Tensor::from_data(data, options));
        Ok(Text {
            context: Tensor::cat(context.collect(), 0),
            pooled: Tensor::cat(pooled.collect(), 0),
        })
    }
}
