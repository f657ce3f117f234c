//! The UNet as a whole.

use std::path::Path;

use burn::{
    module::Module,
    nn::GroupNorm,
    tensor::{DType, Device, Tensor},
};
use higanbana_adapters::layers::Conv2d;

use super::{
    blocks::{Conditioning, DownBlock, Maker, UNetMidBlock2DCrossAttn, UpBlock},
    config::UNetConfig,
    resnet::{Norm, conv3x3, group_norm, normalised},
    time::TimestepEmbedding,
};
use crate::{ModelError, Weights, weights};

/// The numbers of `time_ids`: original height and width, top and left of the crop, target height and
/// width, in pixels.
pub const TIME_IDS: usize = 6;

/// SDXL's second conditioning.
#[derive(Debug, Clone)]
pub struct Added {
    /// The pooled text, `[batch, width]`.
    pub text_embeds: Tensor<2>,
    /// Sizes in pixels, `[batch, 6]`; see [`TIME_IDS`].
    pub time_ids: Tensor<2>,
}

/// Predicts the noise in a sample, or its velocity, at a time and for a text.
#[derive(Module, Debug)]
pub struct UNet2DConditionModel {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: UNetMidBlock2DCrossAttn,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    config: UNetConfig,
    #[module(skip)]
    checkpointed: bool,
}

impl UNet2DConditionModel {
    /// A model with random weights, none of which exists before it is used.
    pub fn new(config: &UNetConfig, device: &Device) -> Self {
        let (levels, width) = (&config.levels, config.time_width());
        let maker = |level| Maker { config, level, device };
        let (first, last) = (levels[0], levels[levels.len() - 1]);

        let mut skips = vec![first.channels];
        let mut input = first.channels;
        let mut down_blocks = Vec::new();
        for (index, &level) in levels.iter().enumerate() {
            let smallest = index + 1 == levels.len();
            down_blocks.push(maker(level).down(input, smallest));
            skips.resize(skips.len() + level.layers + usize::from(!smallest), level.channels);
            input = level.channels;
        }
        let mut up_blocks = Vec::new();
        for (index, &level) in levels.iter().enumerate().rev() {
            up_blocks.push(maker(level).up(input, &mut skips, index == 0));
            input = level.channels;
        }
        let norm = Norm { groups: config.norm_groups, eps: config.norm_eps };
        Self {
            conv_in: conv3x3(config.in_channels, first.channels, device),
            time_embedding: TimestepEmbedding::new(
                first.channels,
                width,
                config.guidance_width,
                device,
            ),
            add_embedding: config
                .text_time
                .map(|text_time| TimestepEmbedding::new(text_time.projected, width, None, device)),
            down_blocks,
            mid_block: maker(last).middle(),
            up_blocks,
            conv_norm_out: group_norm(norm, first.channels, device),
            conv_out: conv3x3(first.channels, config.out_channels, device),
            config: config.clone(),
            checkpointed: false,
        }
    }

    /// Whether training keeps of each residual block and each transformer block its input alone, and
    /// computes it once more in the backward pass; not at first.
    #[must_use]
    pub fn checkpointed(self, checkpointed: bool) -> Self {
        Self { checkpointed, ..self }
    }

    /// Reads a folder with `config.json` and weights, as diffusers saves it.
    ///
    /// # Errors
    /// When the configuration is not supported, or the weights are not those that it describes.
    pub fn read(folder: &Path, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let config = UNetConfig::read(&folder.join("config.json"))?;
        weights::load(Self::new(&config, device), &Self::weights(folder)?, dtype)
    }

    /// The weights of a folder.
    pub(crate) fn weights(folder: &Path) -> Result<Weights, ModelError> {
        Weights::folder(folder)
    }

    /// What it is made of.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// That inputs suit the model and each other; [`Self::forward`] panics on what this refuses.
    ///
    /// # Errors
    /// When a shape is wrong, or `added` is missing or superfluous.
    pub fn check(
        &self,
        sample: [usize; 4],
        times: usize,
        context: [usize; 3],
        added: Option<([usize; 2], [usize; 2])>,
    ) -> Result<(), ModelError> {
        let wrong = |name, found: &[usize], expected: String| {
            Err(ModelError::input(name, format!("is {found:?}, the model takes {expected}")))
        };
        let [batch, channels, h, w] = sample;
        let config = &self.config;
        if channels != config.in_channels || batch * h * w == 0 {
            return wrong(
                "sample",
                &sample,
                format!("[batch, {}, height, width]", config.in_channels),
            );
        }
        if times != 1 && times != batch {
            return wrong("timestep", &[times], format!("[1] or [{batch}]"));
        }
        let width = config.levels[config.levels.len() - 1].context;
        if context[0] != batch || context[1] == 0 || context[2] != width {
            let expected = format!("[{batch}, tokens, {width}]");
            return wrong("encoder_hidden_states", &context, expected);
        }
        match (&config.text_time, added) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                Err(ModelError::input("text_embeds", "is given, but only SDXL's UNet takes it"))
            }
            (Some(_), None) => {
                let reason = "is missing, SDXL's UNet takes it together with time_ids";
                Err(ModelError::input("text_embeds", reason))
            }
            (Some(text_time), Some((text, ids))) => {
                let width = text_time.projected.saturating_sub(TIME_IDS * text_time.size_width);
                if text != [batch, width] {
                    return wrong("text_embeds", &text, format!("[{batch}, {width}]"));
                }
                if ids != [batch, TIME_IDS] {
                    return wrong("time_ids", &ids, format!("[{batch}, {TIME_IDS}]"));
                }
                Ok(())
            }
        }
    }

    /// That a guidance vector, where one is given, is the model's.
    ///
    /// # Errors
    /// When the model takes none, or one of another shape.
    pub fn check_guidance(
        &self,
        batch: usize,
        guidance: Option<[usize; 2]>,
    ) -> Result<(), ModelError> {
        let wrong = |reason| Err(ModelError::input("timestep_cond", reason));
        match (self.config.guidance_width, guidance) {
            (_, None) => Ok(()),
            (None, Some(_)) => wrong("is given, but only a UNet of LCM's takes it".into()),
            (Some(width), Some([rows, found]))
                if found == width && (rows == 1 || rows == batch) =>
            {
                Ok(())
            }
            (Some(width), Some(found)) => {
                wrong(format!("is {found:?}, the model takes [{batch}, {width}]"))
            }
        }
    }

    /// The sample `[batch, in, h, w]` at the times `[batch]` or `[1]`, with the text
    /// `[batch, tokens, context]`, to `[batch, out, h, w]`. Any height and width will do.
    ///
    /// # Panics
    /// When the shapes are not those, or SDXL's `added` is missing.
    pub fn forward(
        &self,
        sample: Tensor<4>,
        times: Tensor<1>,
        context: Tensor<3>,
        added: Option<&Added>,
    ) -> Tensor<4> {
        self.forward_guided(sample, times, context, added, None)
    }

    /// The same for a model that is told how strong guidance is: [`guidance`](super::time::guidance),
    /// `[batch, width]` or `[1, width]`. Other models do not look at it.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn forward_guided(
        &self,
        sample: Tensor<4>,
        times: Tensor<1>,
        context: Tensor<3>,
        added: Option<&Added>,
        guidance: Option<Tensor<2>>,
    ) -> Tensor<4> {
        let time = self.embed(times, added, guidance, &sample);
        let given = Conditioning { time, context, checkpointed: self.checkpointed };

        let mut x = self.conv_in.forward(sample);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, &mut skips, &given);
        }
        x = self.mid_block.forward(x, &given);
        for block in &self.up_blocks {
            x = block.forward(x, &mut skips, &given);
        }
        self.conv_out.forward(normalised(&self.conv_norm_out, x, true))
    }

    /// The embedding of time, and for SDXL of sizes and the pooled text, `[batch, width]`.
    fn embed(
        &self,
        times: Tensor<1>,
        added: Option<&Added>,
        guidance: Option<Tensor<2>>,
        sample: &Tensor<4>,
    ) -> Tensor<2> {
        let (batch, dtype) = (sample.dims()[0], sample.dtype());
        let waves = |numbers: Tensor<1>, width| {
            self.config.sinusoid.embed(numbers.cast(DType::F32), width).cast(dtype)
        };
        let times = waves(times.expand([batch]), self.config.levels[0].channels);
        let guidance = guidance.map(|guidance| guidance.cast(dtype));
        let time = self.time_embedding.forward(times, guidance);
        let (Some(embedding), Some(text_time)) = (&self.add_embedding, self.config.text_time)
        else {
            return time;
        };
        let added = added.expect("SDXL's UNet takes text_embeds and time_ids");
        let sizes = waves(added.time_ids.clone().flatten(0, 1), text_time.size_width);
        let sizes = sizes.reshape([batch, TIME_IDS * text_time.size_width]);
        let joined = Tensor::cat(vec![added.text_embeds.clone(), sizes], 1);
        time + embedding.forward(joined, None)
    }
}
