"""Higanbana beside PyTorch and diffusers, on this machine, in this run: one table of ratios.

    pip install diffusers==0.42.1 torch
    python benches/diffusion_torch.py [FILTER] [--rounds N] [--forward]

Starts `benches/diffusion.rs` and takes turns with it; `beside.py` says how.
"""

import json

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from beside import ROOT, compare


def conv(name):
    """`conv3x3 320-640 @64 /1`"""
    kernel, channels, size, stride = name.split()
    kernel, stride, size = int(kernel[4]), int(stride[1:]), int(size[1:])
    inputs, outputs = map(int, channels.split("-"))
    weight = torch.randn(outputs, inputs, kernel, kernel, requires_grad=True)
    return (1, inputs, size, size), lambda x: F.conv2d(x, weight, None, stride, kernel // 2)


def attention(name):
    """`attention 4096-77 width 320`"""
    _, lengths, _, width = name.split()
    n, m = map(int, lengths.split("-"))
    keys = torch.randn(1, m, int(width), requires_grad=True) if n != m else None

    def forward(q):
        heads = lambda x: x.unflatten(2, (8, -1)).transpose(1, 2)
        k = heads(q if keys is None else keys)
        return F.scaled_dot_product_attention(heads(q), k, k).transpose(1, 2).flatten(2)

    return (1, n, int(width)), forward


def group_norm(name):
    norm = torch.nn.GroupNorm(32, 320)
    return (1, 320, 64, 64), (lambda x: F.silu(norm(x))) if "silu" in name else norm


def resnet(name):
    channels, size = name.split()[1:]
    inputs, outputs = map(int, channels.split("-"))
    block = ResnetBlock2D(in_channels=inputs, out_channels=outputs, temb_channels=1280, eps=1e-5)
    time = torch.randn(1, 1280)
    return (1, inputs, int(size[1:]), int(size[1:])), lambda x: block(x, time)


def transformer(name):
    width, size = int(name.split()[1]), int(name.split("@")[1])
    block = Transformer2DModel(8, width // 8, width, num_layers=1, cross_attention_dim=768)
    text = torch.randn(1, 77, 768)
    return (1, width, size, size), lambda x: block(x, encoder_hidden_states=text).sample


def geglu(_):
    def forward(x):
        hidden, gate = x.chunk(2, -1)
        return hidden * F.gelu(gate)

    return (1, 4096, 2560), forward


def layer(module, *shape):
    return lambda _: (shape, module())


def unet(_):
    config = json.loads((ROOT / "tests/reference/diffusion/published/sd15.json").read_text())
    # Without the initial values, which take longer than the rest.
    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(config)
    model = model.to_empty(device="cpu").requires_grad_(False)
    for parameter in model.parameters():
        parameter.uniform_(-0.01, 0.01)
    text, t = torch.randn(1, 77, 768), torch.tensor([500.0])
    return (1, 4, 64, 64), lambda x: model(x, t, text).sample


KINDS = {
    "conv": conv,
    "attention": attention,
    "geglu": geglu,
    "group norm": group_norm,
    "layer norm": layer(lambda: torch.nn.LayerNorm(320), 1, 4096, 320),
    "linear": layer(lambda: torch.nn.Linear(320, 2560), 1, 4096, 320),
    "resnet": resnet,
    "transformer": transformer,
    "unet": unet,
}


def make(name, step):
    kind = next(kind for kind in KINDS if name.startswith(kind))
    shape, forward = KINDS[kind](name)
    x = torch.randn(shape, requires_grad=step)

    def once():
        with torch.set_grad_enabled(step):
            y = forward(x)
            if step:
                y.sum().backward()

    return once


if __name__ == "__main__":
    compare(__doc__, "diffusion", [False, True], make)
