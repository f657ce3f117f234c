//! The blocks of one resolution, on the way down, in the middle and on the way up.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use higanbana_core::checkpoint;

use super::{
    config::{Level, UNetConfig},
    resnet::{Downsample2D, Norm, ResnetBlock2D, Upsample2D},
    transformer::{Shape, Transformer2DModel},
};

/// What every block is given beside its features.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// The embedding of time, `[batch, width]`.
    pub time: Tensor<2>,
    /// The text, `[batch, tokens, context]`.
    pub context: Tensor<3>,
    /// Whether blocks are computed again in the backward pass.
    pub checkpointed: bool,
}

/// Makes the parts of one level.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker<'a> {
    pub config: &'a UNetConfig,
    pub level: Level,
    pub device: &'a Device,
}

impl Maker<'_> {
    fn resnet(&self, input: usize) -> ResnetBlock2D {
        let norm = Norm { groups: self.config.norm_groups, eps: self.config.norm_eps };
        let channels = [input, self.level.channels];
        ResnetBlock2D::new(channels, Some(self.config.time_width()), norm, self.device)
    }

    fn transformers(&self, count: usize) -> Vec<Transformer2DModel> {
        let Level { channels, heads, depth, context, .. } = self.level;
        let shape = Shape {
            width: channels,
            heads,
            depth,
            context,
            groups: self.config.norm_groups,
            linear_projection: self.config.linear_projection,
            upcast: self.config.upcast_attention,
        };
        (0..count).map(|_| Transformer2DModel::new(shape, self.device)).collect()
    }

    /// On the way down from `input` channels; the last level keeps its size.
    pub fn down(&self, input: usize, last: bool) -> DownBlock {
        let Level { channels, layers, .. } = self.level;
        let resnets = (0..layers).map(|i| self.resnet(if i == 0 { input } else { channels }));
        let resnets = resnets.collect();
        let downsamplers = (!last).then(|| vec![Downsample2D::new(channels, self.device)]);
        match self.level.down_attends {
            false => DownBlock::Plain(DownBlock2D { resnets, downsamplers }),
            true => {
                let attentions = self.transformers(layers);
                DownBlock::Attending(CrossAttnDownBlock2D { resnets, attentions, downsamplers })
            }
        }
    }

    pub fn middle(&self) -> UNetMidBlock2DCrossAttn {
        let channels = self.level.channels;
        UNetMidBlock2DCrossAttn {
            resnets: vec![self.resnet(channels), self.resnet(channels)],
            attentions: self.transformers(1),
        }
    }

    /// On the way up from `input` channels; `skips` are the channels of what the way down left, of
    /// which the last are taken. The largest level keeps its size.
    pub fn up(&self, input: usize, skips: &mut Vec<usize>, largest: bool) -> UpBlock {
        let Level { channels, layers, .. } = self.level;
        let resnets = (0..=layers).map(|i| {
            let skip = skips.pop().expect("the way down leaves as many as the way up takes");
            self.resnet(skip + if i == 0 { input } else { channels })
        });
        let resnets = resnets.collect();
        let upsamplers = (!largest).then(|| vec![Upsample2D::new(channels, self.device)]);
        match self.level.up_attends {
            false => UpBlock::Plain(UpBlock2D { resnets, upsamplers }),
            true => {
                let attentions = self.transformers(layers + 1);
                UpBlock::Attending(CrossAttnUpBlock2D { resnets, attentions, upsamplers })
            }
        }
    }
}

/// A level on the way down: each layer's result, and the smaller map, are left for the way up.
#[derive(Module, Debug)]
pub enum DownBlock {
    /// Without attention.
    Plain(DownBlock2D),
    /// With attention to the text.
    Attending(CrossAttnDownBlock2D),
}

/// Residual blocks.
#[derive(Module, Debug)]
pub struct DownBlock2D {
    resnets: Vec<ResnetBlock2D>,
    downsamplers: Option<Vec<Downsample2D>>,
}

/// Residual blocks, each with a transformer.
#[derive(Module, Debug)]
pub struct CrossAttnDownBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    downsamplers: Option<Vec<Downsample2D>>,
}

impl DownBlock {
    /// Pushes what it leaves onto `skips` and gives the last of it.
    pub fn forward(
        &self,
        mut x: Tensor<4>,
        skips: &mut Vec<Tensor<4>>,
        given: &Conditioning,
    ) -> Tensor<4> {
        let (resnets, attentions, downsamplers) = match self {
            Self::Plain(block) => (&block.resnets, &[][..], &block.downsamplers),
            Self::Attending(block) => (&block.resnets, &block.attentions[..], &block.downsamplers),
        };
        for (index, resnet) in resnets.iter().enumerate() {
            x = layer(resnet, attentions.get(index), x, given);
            skips.push(x.clone());
        }
        for downsampler in downsamplers.iter().flatten() {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// The smallest level: a residual block, a transformer, a residual block.
#[derive(Module, Debug)]
pub struct UNetMidBlock2DCrossAttn {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
}

impl UNetMidBlock2DCrossAttn {
    /// `[batch, channels, h, w]`.
    pub fn forward(&self, x: Tensor<4>, given: &Conditioning) -> Tensor<4> {
        let x = layer(&self.resnets[0], self.attentions.first(), x, given);
        layer(&self.resnets[1], None, x, given)
    }
}

/// A level on the way up: each layer is also given what a layer on the way down left.
#[derive(Module, Debug)]
pub enum UpBlock {
    /// Without attention.
    Plain(UpBlock2D),
    /// With attention to the text.
    Attending(CrossAttnUpBlock2D),
}

/// Residual blocks.
#[derive(Module, Debug)]
pub struct UpBlock2D {
    resnets: Vec<ResnetBlock2D>,
    upsamplers: Option<Vec<Upsample2D>>,
}

/// Residual blocks, each with a transformer.
#[derive(Module, Debug)]
pub struct CrossAttnUpBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    upsamplers: Option<Vec<Upsample2D>>,
}

impl UpBlock {
    /// Pops what it takes from `skips`, and grows to the size of what is then on top.
    pub fn forward(
        &self,
        mut x: Tensor<4>,
        skips: &mut Vec<Tensor<4>>,
        given: &Conditioning,
    ) -> Tensor<4> {
        let (resnets, attentions, upsamplers) = match self {
            Self::Plain(block) => (&block.resnets, &[][..], &block.upsamplers),
            Self::Attending(block) => (&block.resnets, &block.attentions[..], &block.upsamplers),
        };
        for (index, resnet) in resnets.iter().enumerate() {
            let skip = skips.pop().expect("the way down leaves as many as the way up takes");
            x = layer(resnet, attentions.get(index), Tensor::cat(vec![x, skip], 1), given);
        }
        for upsampler in upsamplers.iter().flatten() {
            let [_, _, h, w] = skips.last().expect("a larger level follows").dims();
            x = upsampler.forward(x, [h, w]);
        }
        x
    }
}

fn layer(
    resnet: &ResnetBlock2D,
    transformer: Option<&Transformer2DModel>,
    x: Tensor<4>,
    given: &Conditioning,
) -> Tensor<4> {
    let x = match given.checkpointed {
        true => checkpoint(resnet, x, given.time.clone(), |resnet, x, time| {
            resnet.forward(x, Some(&time))
        }),
        false => resnet.forward(x, Some(&given.time)),
    };
    match transformer {
        Some(transformer) => transformer.forward(x, &given.context, given.checkpointed),
        None => x,
    }
}
