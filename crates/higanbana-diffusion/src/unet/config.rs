//! The configuration of a UNet, from diffusers' `config.json`.

use std::path::Path;

use serde_json::Value;

use super::time::Sinusoid;
use crate::{ModelError, config::Fields};

/// What a UNet is made of.
///
/// diffusers lists each property by block, the ones of the way up in reverse; here a [`Level`] holds
/// what belongs to one resolution, on the way down and on the way up.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Height and width of the latents that it was trained on.
    pub sample_size: Option<[usize; 2]>,
    /// Channels of the input: 4, or 9 with a mask.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The resolutions, the largest first.
    pub levels: Vec<Level>,
    /// Groups of every group normalisation.
    pub norm_groups: usize,
    /// Epsilon of the group normalisations outside transformers.
    pub norm_eps: f64,
    /// How a time becomes a vector.
    pub sinusoid: Sinusoid,
    /// Whether transformers project positions (`Linear`) or maps (a 1×1 convolution).
    pub linear_projection: bool,
    /// Whether attention scores of half precision are computed in single precision.
    pub upcast_attention: bool,
    /// SDXL's second conditioning.
    pub text_time: Option<TextTime>,
    /// Width of the vector that tells LCM's models the guidance scale.
    pub guidance_width: Option<usize>,
}

/// One resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Width of its features.
    pub channels: usize,
    /// Residual blocks on the way down; there is one more on the way up.
    pub layers: usize,
    /// Whether they are followed by transformers on the way down.
    pub down_attends: bool,
    /// The same on the way up.
    pub up_attends: bool,
    /// Heads of the attention.
    pub heads: usize,
    /// Blocks of each transformer.
    pub depth: usize,
    /// Width of the text.
    pub context: usize,
}

/// The conditioning `text_time`: a vector of the text, and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextTime {
    /// Width of the sinusoid of each size.
    pub size_width: usize,
    /// Width of the text's vector and all sizes together.
    pub projected: usize,
}

const DOWN: [&str; 2] = ["DownBlock2D", "CrossAttnDownBlock2D"];
const UP: [&str; 2] = ["UpBlock2D", "CrossAttnUpBlock2D"];

impl UNetConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is another class's, or has a field or a value that is not supported.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Self::from_fields(Fields::read(path, &["UNet2DConditionModel"])?)
    }

    /// Takes all fields; the defaults are those of diffusers' constructor.
    ///
    /// # Errors
    /// When a field or a value is not supported.
    pub fn from_fields(mut f: Fields) -> Result<Self, ModelError> {
        refuse_variants(&mut f)?;
        let channels: Vec<usize> = f.take("block_out_channels", vec![320, 640, 1280, 1280])?;
        let count = channels.len();
        let down_attends = attends(&mut f, "down_block_types", [true, true, true, false], DOWN)?;
        let mut up_attends = attends(&mut f, "up_block_types", [false, true, true, true], UP)?;
        up_attends.reverse();
        let layers = f.per_block("layers_per_block", 2, count)?;
        // The name is historical: these are numbers of heads.
        let heads = f.per_block("attention_head_dim", 8, count)?;
        let depth = f.per_block("transformer_layers_per_block", 1, count)?;
        let context = f.per_block("cross_attention_dim", 1280, count)?;
        if count == 0 || down_attends.len() != count || up_attends.len() != count {
            let types = [down_attends.len(), up_attends.len()];
            let reason =
                format!("has {count} blocks, down_block_types and up_block_types {types:?}");
            return Err(f.wrong("block_out_channels", reason));
        }
        let levels = (0..count).map(|i| Level {
            channels: channels[i],
            layers: layers[i],
            down_attends: down_attends[i],
            up_attends: up_attends[i],
            heads: heads[i],
            depth: depth[i],
            context: context[i],
        });
        let config = Self {
            sample_size: size(&mut f)?,
            in_channels: f.take("in_channels", 4)?,
            out_channels: f.take("out_channels", 4)?,
            levels: levels.collect(),
            norm_groups: f.take("norm_num_groups", 32)?,
            norm_eps: f.take("norm_eps", 1e-5)?,
            sinusoid: Sinusoid {
                cosine_first: f.take("flip_sin_to_cos", true)?,
                shift: f.take("freq_shift", 0.0)?,
            },
            linear_projection: f.flag("use_linear_projection", false)?,
            upcast_attention: f.flag("upcast_attention", false)?,
            text_time: text_time(&mut f)?,
            guidance_width: f.take("time_cond_proj_dim", None)?,
        };
        config.check(&f)?;
        f.finish()?;
        Ok(config)
    }

    /// Width of the embedding of time.
    pub fn time_width(&self) -> usize {
        4 * self.levels[0].channels
    }

    /// That every division leaves nothing.
    fn check(&self, f: &Fields) -> Result<(), ModelError> {
        let divides = |n: usize, by: usize| by > 0 && n > 0 && n.is_multiple_of(by);
        for (index, level) in self.levels.iter().enumerate() {
            let Level { channels, layers, heads, depth, .. } = *level;
            let wrong = |field, what| {
                let reason = format!("at block {index} does not suit {channels} channels: {what}");
                Err(f.wrong(field, reason))
            };
            if !divides(channels, self.norm_groups) {
                return wrong("norm_num_groups", self.norm_groups);
            }
            let attends = level.down_attends || level.up_attends || index + 1 == self.levels.len();
            if attends && (!divides(channels, heads) || depth == 0) {
                return wrong("attention_head_dim", heads);
            }
            if layers == 0 {
                return wrong("layers_per_block", layers);
            }
            f.at_most("layers_per_block", layers)?;
            f.at_most("transformer_layers_per_block", depth)?;
        }
        if self.guidance_width.is_some_and(|width| !divides(width, 2)) {
            return Err(f.wrong("time_cond_proj_dim", "must be an even number"));
        }
        match self.levels[0].channels.is_multiple_of(2) {
            true => Ok(()),
            false => Err(f.wrong("block_out_channels", "must begin with an even number")),
        }
    }
}

/// Fields of variants that are not built: other activations, embeddings, block types.
fn refuse_variants(f: &mut Fields) -> Result<(), ModelError> {
    for name in [
        "class_embed_type",
        "cross_attention_norm",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "num_attention_heads",
        "num_class_embeds",
        "reverse_transformer_layers_per_block",
        "time_embedding_act_fn",
        "time_embedding_dim",
        "timestep_post_act",
    ] {
        f.only(name, Value::Null)?;
    }
    for name in [
        "center_input_sample",
        "class_embeddings_concat",
        "dual_cross_attention",
        "only_cross_attention",
        "resnet_skip_time_act",
    ] {
        f.only(name, false)?;
    }
    for (name, value) in [
        ("act_fn", "silu"),
        ("attention_type", "default"),
        ("mid_block_type", "UNetMidBlock2DCrossAttn"),
        ("resnet_time_scale_shift", "default"),
        ("time_embedding_type", "positional"),
    ] {
        f.only(name, value)?;
    }
    for (name, value) in [
        ("conv_in_kernel", 3),
        ("conv_out_kernel", 3),
        ("downsample_padding", 1),
        ("dropout", 0),
        ("mid_block_scale_factor", 1),
        ("resnet_out_scale_factor", 1),
    ] {
        f.only(name, value)?;
    }
    // Of an embedding type and a mid block that are refused.
    f.ignore(&["addition_embed_type_num_heads", "mid_block_only_cross_attention"]);
    Ok(())
}

/// Which blocks attend to the text.
fn attends(
    f: &mut Fields,
    field: &str,
    default: [bool; 4],
    [plain, attending]: [&str; 2],
) -> Result<Vec<bool>, ModelError> {
    let default = default.map(|attends| if attends { attending } else { plain }.to_string());
    let types: Vec<String> = f.take(field, default.into())?;
    let attends = types.iter().map(|name| match name.as_str() {
        name if name == plain => Ok(false),
        name if name == attending => Ok(true),
        name => Err(f.wrong(field, format!("has {name}; {plain} and {attending} are supported"))),
    });
    attends.collect()
}

/// A side length, or height and width.
fn size(f: &mut Fields) -> Result<Option<[usize; 2]>, ModelError> {
    let name = "sample_size";
    if f.is_list(name) {
        return f.take(name, None);
    }
    Ok(f.take(name, None)?.map(|side: usize| [side, side]))
}

fn text_time(f: &mut Fields) -> Result<Option<TextTime>, ModelError> {
    let name = "addition_embed_type";
    let kind: Option<String> = f.take(name, None)?;
    let size_width: Option<usize> = f.take("addition_time_embed_dim", None)?;
    let field = "projection_class_embeddings_input_dim";
    let projected: Option<usize> = f.take(field, None)?;
    match (kind.as_deref(), size_width, projected) {
        (None, ..) => Ok(None),
        (Some("text_time"), Some(size_width), Some(projected)) => {
            Ok(Some(TextTime { size_width, projected }))
        }
        (Some("text_time"), ..) => {
            Err(f.wrong(name, format!("needs addition_time_embed_dim and {field}")))
        }
        (Some(kind), ..) => Err(f.wrong(name, format!("is {kind}; only text_time is supported"))),
    }
}
