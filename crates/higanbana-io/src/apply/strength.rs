//! How strongly an adapter file acts: on the text encoders, on the UNet, and on each of its blocks.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{Target, names::Component};

/// The strength $\mu$ of a file's adapters: 1 as trained, 0 not at all; others inter- and extrapolate,
/// negative ones take away.
#[derive(Debug, Clone, PartialEq)]
pub struct Strength {
    /// Of those on the UNet, or on a model of another kind.
    pub unet: f64,
    /// Of those on text encoders.
    pub text: f64,
    /// What the strength is multiplied by, block by block.
    pub blocks: Option<Blocks>,
}

/// What may follow a strength, for help.
pub const OPTIONS: &str =
    "te=MU for the text encoders, unet=MU for the UNet, lbw=W,W,... block by block";

impl Strength {
    /// Sets what an option says: `te=0.5`, `unet=1`, or `lbw=` and a weight for each block.
    ///
    /// # Errors
    /// When it is none of these, or no number.
    pub fn set(&mut self, option: &str) -> Result<(), String> {
        match option.split_once('=') {
            Some(("te", mu)) => self.text = number(mu)?,
            Some(("unet", mu)) => self.unet = number(mu)?,
            Some(("lbw", weights)) => self.blocks = Some(Blocks::parse(weights)?),
            _ => return Err(format!("{option} is no option of an adapter; there are {OPTIONS}")),
        }
        Ok(())
    }

    /// The strength at the layer that a name means.
    ///
    /// # Errors
    /// With the block that the layer is in, when the weights leave that out.
    pub fn at(&self, target: &Target) -> Result<f64, String> {
        let text = matches!(target.component, Component::TextEncoder | Component::TextEncoder2);
        let strength = if text { self.text } else { self.unet };
        let Some(blocks) = &self.blocks else { return Ok(strength) };
        let block = if text { Some(Block::Base) } else { Block::of(target) };
        match block {
            None => Ok(strength),
            Some(block) => blocks.weight(block).map(|weight| strength * weight),
        }
    }

    /// The one number that it is, if it is one.
    pub fn uniform(&self) -> Option<f64> {
        (self.blocks.is_none() && self.unet == self.text).then_some(self.unet)
    }
}

impl From<f64> for Strength {
    fn from(strength: f64) -> Self {
        Self { unet: strength, text: strength, blocks: None }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.unet)?;
        if self.text != self.unet {
            write!(f, ":te={}", self.text)?;
        }
        self.blocks.iter().try_for_each(|blocks| write!(f, ":lbw={blocks}"))
    }
}

impl Serialize for Strength {
    /// As a number where it is one.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.uniform() {
            Some(strength) => to.serialize_f64(strength),
            None => to.collect_str(self),
        }
    }
}

/// Whether a text is an option of an adapter, rightly written or not.
pub fn is_option(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, _)| ["te", "unet", "lbw"].contains(&key))
}

/// A strength in writing.
///
/// # Errors
/// When it is no finite number.
pub fn number(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(mu) if mu.is_finite() => Ok(mu),
        _ => Err(format!("a strength is a number such as 0.8 or -1, not {text:?}")),
    }
}

/// A block as block merging counts them: those of the original UNet, and the text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Base,
    In(usize),
    Mid,
    Out(usize),
}

impl Block {
    /// The block of a layer of a UNet; what lies outside of them, such as the embedding of time, has none.
    fn of(target: &Target) -> Option<Self> {
        let original = target.ldm.as_deref().and_then(Self::of_original);
        original.or_else(|| Self::of_diffusers(target.path.as_deref()?))
    }

    fn of_original(path: &str) -> Option<Self> {
        let mut parts = path.split('.');
        match parts.next()? {
            "input_blocks" => Some(Self::In(parts.next()?.parse().ok()?)),
            "middle_block" => Some(Self::Mid),
            "output_blocks" => Some(Self::Out(parts.next()?.parse().ok()?)),
            _ => None,
        }
    }

    /// By the rule that leads from one spelling to the other where a block has two layers, as all
    /// published ones have.
    fn of_diffusers(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('.').collect();
        let index = |place: usize| parts.get(place).and_then(|index| index.parse::<usize>().ok());
        match (parts[0], parts.get(2)) {
            ("conv_in", _) => Some(Self::In(0)),
            ("mid_block", _) => Some(Self::Mid),
            ("down_blocks", Some(&"downsamplers")) => Some(Self::In(3 * (index(1)? + 1))),
            ("down_blocks", _) => Some(Self::In(1 + 3 * index(1)? + index(3)?)),
            ("up_blocks", Some(&"upsamplers")) => Some(Self::Out(3 * index(1)? + 2)),
            ("up_blocks", _) => Some(Self::Out(3 * index(1)? + index(3)?)),
            _ => None,
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("BASE"),
            Self::In(index) => write!(f, "IN{index:02}"),
            Self::Mid => f.write_str("M00"),
            Self::Out(index) => write!(f, "OUT{index:02}"),
        }
    }
}

/// A weight for each block of a UNet, and one for the text encoders, as `sd-webui-lora-block-weight`
/// writes them.
///
/// | how many | of which blocks |
/// |---|---|
/// | 26 | all of SD 1 and 2: BASE, IN00-IN11, M00, OUT00-OUT11 |
/// | 17 | those with attention: BASE, IN01 02 04 05 07 08, M00, OUT03-OUT11 |
/// | 20 | all of SDXL: BASE, IN00-IN08, M00, OUT00-OUT08 |
/// | 12 | those with attention: BASE, IN04 05 07 08, M00, OUT00-OUT05 |
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks(Vec<(Block, f64)>);

impl Blocks {
    /// Reads weights that commas divide.
    ///
    /// # Errors
    /// When one is no number, or there are not as many as any model has blocks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let weights = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        let blocks = match weights.len() {
            26 => blocks(0..12, 0..12),
            17 => blocks([1, 2, 4, 5, 7, 8], 3..12),
            20 => blocks(0..9, 0..9),
            12 => blocks([4, 5, 7, 8], 0..6),
            count => {
                return Err(format!(
                    "lbw has {count} weights; write 17 or 26 for SD 1 and 2, 12 or 20 for SDXL"
                ));
            }
        };
        Ok(Self(blocks.into_iter().zip(weights).collect()))
    }

    fn weight(&self, block: Block) -> Result<f64, String> {
        let found = self.0.iter().find(|(other, _)| *other == block);
        found.map(|(_, weight)| *weight).ok_or_else(|| {
            format!(
                "is in block {block}, for which {} block weights have none; write 26 for SD 1 and 2, 20 for \
                 SDXL",
                self.0.len()
            )
        })
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights: Vec<String> = self.0.iter().map(|(_, weight)| weight.to_string()).collect();
        f.write_str(&weights.join(","))
    }
}

fn blocks(
    inner: impl IntoIterator<Item = usize>,
    outer: impl IntoIterator<Item = usize>,
) -> Vec<Block> {
    let inner = inner.into_iter().map(Block::In);
    let outer = outer.into_iter().map(Block::Out);
    [Block::Base].into_iter().chain(inner).chain([Block::Mid]).chain(outer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Names, names::Architecture};

    #[test]
    fn a_rule_and_the_table_agree_on_every_block() {
        for architecture in Architecture::ALL {
            for (diffusers, original) in architecture.unet_modules() {
                let [by_rule, by_table] =
                    [Block::of_diffusers(diffusers), Block::of_original(original)];
                assert_eq!(by_rule, by_table, "{diffusers} {original}");
            }
        }
    }

    #[test]
    fn every_layer_has_the_weight_of_its_block() {
        let names = Names::of(Architecture::Sd);
        let strength = |options: &[&str]| {
            let mut strength = Strength::from(0.5);
            options.iter().try_for_each(|option| strength.set(option)).map(|()| strength)
        };
        let weights: Vec<String> = (0..26).map(|weight| weight.to_string()).collect();
        let all = strength(&["te=-2", &format!("lbw={}", weights.join(","))]).unwrap();
        assert_eq!(all.to_string(), format!("0.5:te=-2:lbw={}", weights.join(",")));
        let some = strength(&["lbw=1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,9"]).unwrap();
        for (module, of_all, of_some) in [
            ("lora_te_text_model_encoder_layers_0_mlp_fc1", 0.0, Ok(0.5)),
            ("lora_unet_conv_in", 0.5, Err("IN00")),
            ("lora_unet_down_blocks_0_attentions_0_proj_in", 1.0, Ok(0.0)),
            ("lora_unet_down_blocks_1_attentions_1_proj_in", 3.0, Ok(0.5)),
            ("lora_unet_down_blocks_1_downsamplers_0_conv", 3.5, Err("IN06")),
            ("lora_unet_mid_block_attentions_0_proj_in", 6.5, Ok(0.5)),
            ("lora_unet_up_blocks_1_attentions_0_proj_in", 8.5, Ok(0.5)),
            ("lora_unet_up_blocks_3_attentions_2_proj_in", 12.5, Ok(4.5)),
            ("lora_unet_time_embedding_linear_1", 0.5, Ok(0.5)),
        ] {
            let target = names.find(module).unwrap().unwrap();
            assert_eq!(all.at(target), Ok(of_all), "{module}");
            let found = some.at(target);
            match of_some {
                Ok(weight) => assert_eq!(found, Ok(weight), "{module}"),
                Err(block) => {
                    let start =
                        format!("is in block {block}, for which 17 block weights have none");
                    assert!(found.clone().unwrap_err().starts_with(&start), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_strength_is_refused() {
        let mut strength = Strength::from(1.0);
        for option in ["te=much", "unet=inf", "lbw=1,2,3", "lbw=", "dyn=4", "te"] {
            assert!(strength.set(option).is_err(), "{option}");
        }
        assert_eq!(strength.uniform(), Some(1.0));
        assert!(number("NaN").is_err());
    }
}
