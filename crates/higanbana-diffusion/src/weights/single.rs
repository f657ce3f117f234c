//! Single files: all models of a pipeline in one, under the names of the original code (LDM).
//!
//! The tensors are the same but for four things, which [`How`] lists. A file is told by its keys.

use std::path::Path;

use higanbana_io::{Checkpoint, names::Architecture};

use super::{How, Stored, Tensor, Weights};
use crate::{ModelError, pipeline::Published, text::END};

/// Which of the published models a single file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// SD 1.x.
    Sd1,
    /// SD 2.x; the file does not say whether it predicts noise or velocity.
    Sd2,
    /// SDXL base.
    Sdxl,
}

/// A model of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The denoiser.
    Unet,
    /// The autoencoder.
    Vae,
    /// The text encoder, or SDXL's first.
    TextEncoder,
    /// SDXL's second text encoder.
    TextEncoder2,
}

impl Part {
    /// The folder of a model directory that it is in.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }

    /// The folder of a text encoder's tokenizer.
    pub fn tokenizer(self) -> &'static str {
        if self == Self::TextEncoder2 { "tokenizer_2" } else { "tokenizer" }
    }

    /// The file of weights in its folder.
    pub fn file(self) -> &'static str {
        match self {
            Self::Unet | Self::Vae => "diffusion_pytorch_model.safetensors",
            Self::TextEncoder | Self::TextEncoder2 => "model.safetensors",
        }
    }
}

impl Family {
    /// The family of a file.
    ///
    /// # Errors
    /// When it is no single file, or that of a model which is not built.
    pub fn of(file: &Checkpoint) -> Result<Self, ModelError> {
        const UNET: &str = "model.diffusion_model.";
        let shape = |key: &str| file.info(key).map(|info| info.shape.as_slice());
        let wrong = |reason: &str| {
            Err(ModelError::Config { path: file.path().into(), reason: reason.into() })
        };
        let Some(first) = shape(&format!("{UNET}input_blocks.0.0.weight")) else {
            return wrong("is no model file of Stable Diffusion: it has no model.diffusion_model");
        };
        if first.get(1) != Some(&4) {
            return wrong("is a model for inpainting or editing; only text to image is supported");
        }
        if shape("conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias").is_some()
        {
            return wrong("is SDXL's refiner; only its base is supported");
        }
        if shape("conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias").is_some()
        {
            return Ok(Self::Sdxl);
        }
        let key = format!("{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight");
        match shape(&key).and_then(|shape| shape.get(1)) {
            Some(768) => Ok(Self::Sd1),
            Some(1024) => Ok(Self::Sd2),
            _ => wrong("is none of SD 1, SD 2 and SDXL: its UNet takes another text"),
        }
    }

    /// The family whose single files hold models of these configurations.
    pub fn of_models(published: &Published) -> Option<Self> {
        let levels = &published.unet.levels;
        match (published.encoders.len(), levels[levels.len() - 1].context) {
            (2, _) => Some(Self::Sdxl),
            (1, 768) => Some(Self::Sd1),
            (1, 1024) => Some(Self::Sd2),
            _ => None,
        }
    }

    /// The models of a pipeline.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Self::Sd1 | Self::Sd2 => &[Part::Unet, Part::Vae, Part::TextEncoder],
            Self::Sdxl => &[Part::Unet, Part::Vae, Part::TextEncoder, Part::TextEncoder2],
        }
    }

    /// The text encoders among them.
    pub fn encoders(self) -> &'static [Part] {
        &self.parts()[2..]
    }

    /// The token that fills what a text leaves behind its end: OpenCLIP's encoders were trained with
    /// `!`.
    pub fn padding(self, part: Part) -> &'static str {
        if part == Part::TextEncoder2 || self == Self::Sd2 { "!" } else { END }
    }

    /// Under which prefix a part lies.
    fn prefix(self, part: Part) -> &'static str {
        match (part, self) {
            (Part::Unet, _) => "model.diffusion_model.",
            (Part::Vae, _) => "first_stage_model.",
            (Part::TextEncoder, Self::Sd1) => "cond_stage_model.transformer.",
            (Part::TextEncoder, Self::Sd2) => "cond_stage_model.model.",
            (Part::TextEncoder, Self::Sdxl) => "conditioner.embedders.0.transformer.",
            (Part::TextEncoder2, _) => "conditioner.embedders.1.model.",
        }
    }

    /// Where tensors of a part, under their own names, lie in a single file: key and layout.
    ///
    /// # Errors
    /// When a name is not one of the family's; `path` is for the message.
    pub fn places(
        self,
        part: Part,
        tensors: &[Tensor],
        path: &Path,
    ) -> Result<Vec<(String, How)>, ModelError> {
        let prefix = self.prefix(part);
        let open_clip =
            part == Part::TextEncoder2 || (part, self) == (Part::TextEncoder, Self::Sd2);
        let levels = tensors.iter().filter_map(|tensor| level(&tensor.key)).max().unwrap_or(0);
        let place = |tensor: &Tensor| {
            let place = match part {
                Part::Unet => self.unet(&tensor.key),
                Part::Vae => Some(vae(&tensor.key, levels)),
                _ if open_clip => open_clip_place(&tensor.key),
                _ => Some((tensor.key.clone(), How::Same)),
            };
            let (key, how) = place.ok_or_else(|| ModelError::Config {
                path: path.into(),
                reason: format!("{} has no name in single files", tensor.key),
            })?;
            Ok((format!("{prefix}{key}"), how))
        };
        tensors.iter().map(place).collect()
    }

    fn unet(self, key: &str) -> Option<(String, How)> {
        let architecture = match self {
            Self::Sd1 | Self::Sd2 => Architecture::Sd,
            Self::Sdxl => Architecture::Sdxl,
        };
        let (module, field) = key.rsplit_once('.')?;
        let (_, ldm) = architecture.unet_modules().find(|(diffusers, _)| *diffusers == module)?;
        Some((format!("{ldm}.{field}"), How::Same))
    }

    /// The tensors of a part of a single file, under their own names.
    ///
    /// What lies beside them in the file is left: training's copies and buffers, and of OpenCLIP
    /// what no image is made with.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(
        self,
        part: Part,
        file: &Path,
        tensors: &[Tensor],
    ) -> Result<Weights, ModelError> {
        let checkpoint = Checkpoint::open(file)?;
        let places = self.places(part, tensors, file)?;
        let stored = tensors.iter().zip(places).filter_map(|(tensor, (key, how))| {
            let present = checkpoint.info(&key).is_some();
            present.then(|| (tensor.key.clone(), Stored { file: 0, key, how }))
        });
        let index = stored.collect();
        Ok(Weights { path: file.into(), files: vec![checkpoint], index })
    }
}

/// The number of a level of the autoencoder.
fn level(key: &str) -> Option<usize> {
    key.strip_prefix("decoder.up_blocks.")?.split('.').next()?.parse().ok()
}

/// A name of the autoencoder, whose decoder counts its levels the other way round.
fn vae(key: &str, last: usize) -> (String, How) {
    const RENAMED: [(&str, &str); 11] = [
        (".mid_block.resnets.0.", ".mid.block_1."),
        (".mid_block.resnets.1.", ".mid.block_2."),
        (".mid_block.attentions.0.group_norm.", ".mid.attn_1.norm."),
        (".mid_block.attentions.0.to_q.", ".mid.attn_1.q."),
        (".mid_block.attentions.0.to_k.", ".mid.attn_1.k."),
        (".mid_block.attentions.0.to_v.", ".mid.attn_1.v."),
        (".mid_block.attentions.0.to_out.0.", ".mid.attn_1.proj_out."),
        (".downsamplers.0.conv.", ".downsample.conv."),
        (".upsamplers.0.conv.", ".upsample.conv."),
        (".conv_norm_out.", ".norm_out."),
        (".conv_shortcut.", ".nin_shortcut."),
    ];
    let attention = key.contains(".attentions.") && !key.contains("group_norm");
    let how = if attention && key.ends_with(".weight") { How::Pointwise } else { How::Same };
    let mut name = key.replace(".down_blocks.", ".down.").replace(".resnets.", ".block.");
    if let Some(up) = level(key) {
        name = name.replace(&format!(".up_blocks.{up}."), &format!(".up.{}.", last - up));
    }
    // The rule for residual blocks has met those of the middle too.
    name = name.replace(".mid_block.block.", ".mid_block.resnets.");
    for (diffusers, ldm) in RENAMED {
        name = name.replace(diffusers, ldm);
    }
    (name, how)
}

/// A name of the text encoder as OpenCLIP has it.
fn open_clip_place(key: &str) -> Option<(String, How)> {
    const LAYER: [(&str, &str); 5] = [
        ("layer_norm1.", "ln_1."),
        ("layer_norm2.", "ln_2."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
        ("self_attn.out_proj.", "attn.out_proj."),
    ];
    let same = |key: String| Some((key, How::Same));
    let Some(inner) = key.strip_prefix("text_model.") else {
        return (key == "text_projection.weight")
            .then(|| ("text_projection".into(), How::Transposed));
    };
    if let Some(field) = inner.strip_prefix("final_layer_norm.") {
        return same(format!("ln_final.{field}"));
    }
    match inner {
        "embeddings.token_embedding.weight" => return same("token_embedding.weight".into()),
        "embeddings.position_embedding.weight" => return same("positional_embedding".into()),
        _ => {}
    }
    let (index, field) = inner.strip_prefix("encoder.layers.")?.split_once('.')?;
    let block = format!("transformer.resblocks.{index}.");
    for (hf, open) in LAYER {
        if let Some(field) = field.strip_prefix(hf) {
            return same(format!("{block}{open}{field}"));
        }
    }
    // Query, key and value are stacked on the rows.
    let (projection, field) = field.strip_prefix("self_attn.")?.split_once("_proj.")?;
    let index = ["q", "k", "v"].iter().position(|name| *name == projection)?;
    Some((format!("{block}attn.in_proj_{field}"), How::Rows { index, of: 3 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_hand() {
        for (key, ldm, how) in [
            (
                "encoder.down_blocks.1.resnets.0.conv_shortcut.bias",
                "encoder.down.1.block.0.nin_shortcut.bias",
                How::Same,
            ),
            (
                "encoder.down_blocks.2.downsamplers.0.conv.weight",
                "encoder.down.2.downsample.conv.weight",
                How::Same,
            ),
            (
                "decoder.up_blocks.0.resnets.2.norm1.weight",
                "decoder.up.3.block.2.norm1.weight",
                How::Same,
            ),
            (
                "decoder.up_blocks.2.upsamplers.0.conv.bias",
                "decoder.up.1.upsample.conv.bias",
                How::Same,
            ),
            (
                "encoder.mid_block.resnets.1.conv2.weight",
                "encoder.mid.block_2.conv2.weight",
                How::Same,
            ),
            (
                "decoder.mid_block.attentions.0.to_out.0.weight",
                "decoder.mid.attn_1.proj_out.weight",
                How::Pointwise,
            ),
            (
                "decoder.mid_block.attentions.0.to_out.0.bias",
                "decoder.mid.attn_1.proj_out.bias",
                How::Same,
            ),
            (
                "decoder.mid_block.attentions.0.group_norm.weight",
                "decoder.mid.attn_1.norm.weight",
                How::Same,
            ),
            ("decoder.conv_norm_out.bias", "decoder.norm_out.bias", How::Same),
            ("quant_conv.weight", "quant_conv.weight", How::Same),
        ] {
            assert_eq!(vae(key, 3), (ldm.to_string(), how));
        }
        for (key, open, how) in [
            (
                "text_model.encoder.layers.4.self_attn.k_proj.bias",
                "transformer.resblocks.4.attn.in_proj_bias",
                How::Rows { index: 1, of: 3 },
            ),
            (
                "text_model.encoder.layers.4.mlp.fc2.weight",
                "transformer.resblocks.4.mlp.c_proj.weight",
                How::Same,
            ),
            ("text_model.final_layer_norm.weight", "ln_final.weight", How::Same),
            ("text_projection.weight", "text_projection", How::Transposed),
        ] {
            assert_eq!(open_clip_place(key), Some((open.to_string(), how)));
        }
        assert_eq!(open_clip_place("text_model.other"), None);
    }
}
