//! The two halves of the autoencoder.

use burn::{
    module::Module,
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use higanbana_adapters::layers::Conv2d;

use super::{attention::Attention, config::VaeConfig};
use crate::unet::resnet::{
    Downsample2D, Norm, ResnetBlock2D, Upsample2D, conv3x3, group_norm, normalised,
};

fn norm(config: &VaeConfig) -> Norm {
    Norm { groups: config.norm_groups, eps: 1e-6 }
}

fn resnets(
    count: usize,
    [input, output]: [usize; 2],
    norm: Norm,
    device: &Device,
) -> Vec<ResnetBlock2D> {
    let input = |i| if i == 0 { input } else { output };
    (0..count).map(|i| ResnetBlock2D::new([input(i), output], None, norm, device)).collect()
}

fn through(resnets: &[ResnetBlock2D], x: Tensor<4>) -> Tensor<4> {
    resnets.iter().fold(x, |x, resnet| resnet.forward(x, None))
}

/// An image to the mean and the logarithm of the variance of its latent.
#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock2D>,
    mid_block: UNetMidBlock2D,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
        let (channels, norm) = (&config.channels, norm(config));
        let last = channels.len() - 1;
        let down_blocks = channels.iter().enumerate().map(|(i, &width)| DownEncoderBlock2D {
            resnets: resnets(config.layers, [channels[i.saturating_sub(1)], width], norm, device),
            downsamplers: (i < last).then(|| vec![Downsample2D::bottom_right(width, device)]),
        });
        Self {
            conv_in: conv3x3(config.image_channels, channels[0], device),
            down_blocks: down_blocks.collect(),
            mid_block: UNetMidBlock2D::new(channels[last], norm, device),
            conv_norm_out: group_norm(norm, channels[last], device),
            conv_out: conv3x3(channels[last], 2 * config.latent_channels, device),
        }
    }

    /// `[batch, 3, h, w]` to `[batch, 2·latent, h/8, w/8]`, rounded down.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let mut x = self.conv_in.forward(image);
        for block in &self.down_blocks {
            x = through(&block.resnets, x);
            for downsampler in block.downsamplers.iter().flatten() {
                x = downsampler.forward(x);
            }
        }
        let x = self.mid_block.forward(x);
        self.conv_out.forward(normalised(&self.conv_norm_out, x, true))
    }
}

/// A latent to its image.
#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid_block: UNetMidBlock2D,
    up_blocks: Vec<UpDecoderBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
        let (channels, norm) = (&config.channels, norm(config));
        let last = channels.len() - 1;
        let up_blocks = channels.iter().enumerate().rev().map(|(i, &width)| UpDecoderBlock2D {
            resnets: resnets(config.layers + 1, [channels[(i + 1).min(last)], width], norm, device),
            upsamplers: (i > 0).then(|| vec![Upsample2D::new(width, device)]),
        });
        Self {
            conv_in: conv3x3(config.latent_channels, channels[last], device),
            mid_block: UNetMidBlock2D::new(channels[last], norm, device),
            up_blocks: up_blocks.collect(),
            conv_norm_out: group_norm(norm, channels[0], device),
            conv_out: conv3x3(channels[0], config.image_channels, device),
        }
    }

    /// `[batch, latent, h, w]` to `[batch, 3, 8h, 8w]`.
    pub fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let mut x = self.mid_block.forward(self.conv_in.forward(latents));
        for block in &self.up_blocks {
            x = through(&block.resnets, x);
            for upsampler in block.upsamplers.iter().flatten() {
                let [_, _, h, w] = x.dims();
                x = upsampler.forward(x, [2 * h, 2 * w]);
            }
        }
        self.conv_out.forward(normalised(&self.conv_norm_out, x, true))
    }
}

/// A resolution of the encoder.
#[derive(Module, Debug)]
pub struct DownEncoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    downsamplers: Option<Vec<Downsample2D>>,
}

/// A resolution of the decoder.
#[derive(Module, Debug)]
pub struct UpDecoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    upsamplers: Option<Vec<Upsample2D>>,
}

/// The smallest resolution: a residual block, attention, a residual block.
#[derive(Module, Debug)]
pub struct UNetMidBlock2D {
    attentions: Vec<Attention>,
    resnets: Vec<ResnetBlock2D>,
}

impl UNetMidBlock2D {
    fn new(width: usize, norm: Norm, device: &Device) -> Self {
        Self {
            attentions: vec![Attention::new(width, norm, device)],
            resnets: resnets(2, [width, width], norm, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.attentions[0].forward(self.resnets[0].forward(x, None));
        self.resnets[1].forward(x, None)
    }
}
