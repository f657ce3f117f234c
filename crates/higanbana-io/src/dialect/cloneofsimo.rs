//! Files of cloneofsimo/lora: pairs that are counted instead of named, in the order of diffusers' modules.
//!
//! ```text
//! unet:0:up, unet:0:down, ..., text_encoder:0:up, ...    safetensors; the metadata say which layers count
//! <s1>                                                   a token: see [`crate::embedding`]
//! [up, down, up, down, ...]                              a pickle of one model, by its name the text encoder's
//! ```
//!
//! The update is `up down`: there is no alpha.

use crate::{Checkpoint, FileError, checkpoint::LIST, names::kohya};

/// How the name of a pickled list of the text encoder's pairs ends.
const TEXT_LIST: &str = ".text_encoder.pt";
/// The transformers of the UNet of SD 1 and 2 in diffusers' order, which has the middle last.
const BLOCKS: [(&str, std::ops::Range<usize>, usize); 3] =
    [("down_blocks", 0..3, 2), ("up_blocks", 1..4, 3), ("mid_block", 0..1, 1)];
/// The layers of a transformer.
const LAYERS: [&str; 9] = [
    "attn1_to_q",
    "attn1_to_k",
    "attn1_to_v",
    "attn1_to_out_0",
    FEED_FORWARD,
    "attn2_to_q",
    "attn2_to_k",
    "attn2_to_v",
    "attn2_to_out_0",
];
const FEED_FORWARD: &str = "ff_net_0_proj";
/// Those of a layer of the text encoder.
const PROJECTIONS: [&str; 4] = ["k_proj", "v_proj", "q_proj", "out_proj"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Unet,
    TextEncoder,
}

/// The counted pairs of a file.
#[derive(Debug)]
pub(super) struct Counted {
    /// The model of a pickled list.
    list: Model,
    /// The layers that count in each transformer.
    layers: Vec<&'static str>,
}

impl Counted {
    /// What a file counts; none if it names its layers.
    ///
    /// # Errors
    /// When it counts layers whose order is not known here.
    pub fn of(file: &Checkpoint) -> Result<Option<Self>, FileError> {
        if !file.names().iter().any(|key| place(key).is_some()) {
            return Ok(None);
        }
        let pairs = file.names().iter().filter(|key| place(key).is_some()).count() / 2;
        let transformers: usize = BLOCKS.iter().map(|(_, blocks, each)| blocks.len() * each).sum();
        let has_feed_forward = match file.metadata().get("unet") {
            Some(classes)
                if ["ResnetBlock2D", "Transformer2DModel"].iter().any(|c| classes.contains(c)) =>
            {
                return Err(FileError::CannotRead {
                    path: file.path().into(),
                    module: "unet".into(),
                    reason: "its layers are counted together with convolutions, which is not read; convert it where it comes from",
                });
            }
            Some(classes) => classes.contains("GEGLU"),
            // Lists of the first releases are without.
            None => pairs != transformers * (LAYERS.len() - 1),
        };
        let counts = |layer: &&str| has_feed_forward || *layer != FEED_FORWARD;
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        let list = if name.ends_with(TEXT_LIST) { Model::TextEncoder } else { Model::Unet };
        Ok(Some(Self { list, layers: LAYERS.into_iter().filter(counts).collect() }))
    }

    /// kohya's key of a counted tensor; none if there are not so many layers.
    pub fn key(&self, key: &str) -> Option<String> {
        let (model, index, tensor) = place(key)?;
        let module = match model.unwrap_or(self.list) {
            Model::Unet => {
                let (transformer, layer) = (index / self.layers.len(), index % self.layers.len());
                let path = transformers().nth(transformer)?;
                format!("{}{path}_transformer_blocks_0_{}", kohya::UNET, self.layers[layer])
            }
            Model::TextEncoder => {
                let (layer, projection) = (index / 4, PROJECTIONS[index % 4]);
                let prefix = kohya::TEXT_ENCODER;
                format!("{prefix}text_model_encoder_layers_{layer}_self_attn_{projection}")
            }
        };
        Some(format!("{module}.{tensor}"))
    }
}

/// The flattened paths of the UNet's transformers.
fn transformers() -> impl Iterator<Item = String> {
    BLOCKS.into_iter().flat_map(|(name, blocks, each)| {
        blocks.flat_map(move |block| {
            (0..each).map(move |attention| match name {
                "mid_block" => format!("{name}_attentions_{attention}"),
                _ => format!("{name}_{block}_attentions_{attention}"),
            })
        })
    })
}

/// Whether a key counts its layer instead of naming it.
pub(super) fn is_counted(key: &str) -> bool {
    place(key).is_some()
}

/// Which tensor of which pair a key counts, and of which model, if it says so.
fn place(key: &str) -> Option<(Option<Model>, usize, &'static str)> {
    const TENSORS: [(&str, &str); 2] = [("up", "lora_up.weight"), ("down", "lora_down.weight")];
    if let Some(index) = key.strip_prefix(LIST).and_then(|rest| rest.strip_prefix('.')) {
        let index: usize = index.parse().ok()?;
        return Some((None, index / 2, TENSORS[index % 2].1));
    }
    let (model, rest) = key.split_once(':')?;
    let (index, tensor) = rest.split_once(':')?;
    let model = match model {
        "unet" => Model::Unet,
        "text_encoder" => Model::TextEncoder,
        _ => return None,
    };
    let tensor = TENSORS.into_iter().find(|(theirs, _)| *theirs == tensor)?;
    Some((Some(model), index.parse().ok()?, tensor.1))
}
