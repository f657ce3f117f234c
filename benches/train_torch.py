"""A step of training of adapters beside LyCORIS, diffusers and PyTorch, on this machine, in this run: time and peak memory.

    pip install lycoris-lora==4.1.3 diffusers==0.42.1 torch
    python benches/train_torch.py [FILTER] [--rounds N]

Starts `benches/train.rs` and takes turns with it; `beside.py` says how. The definition is LyCORIS's plain forward pass, which
builds the weight, the shortcut its bypass, which acts on features.
"""

import tomllib
from pathlib import Path

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from lycoris import LycorisNetwork, create_lycoris
from lycoris.logging import logger

from beside import compare

TIMED = tomllib.loads(Path(__file__).with_name("train.toml").read_text())["adapter"]
ADAPTERS = {adapter["name"]: adapter["lycoris"] for adapter in TIMED}


def block(kind):
    if kind == "resnet":
        model = ResnetBlock2D(in_channels=640, out_channels=640, temb_channels=1280, eps=1e-5)
        time = torch.randn(1, 1280)
        return model, lambda x: model(x, time)
    model = Transformer2DModel(8, 80, 640, num_layers=1, cross_attention_dim=768)
    text = torch.randn(1, 77, 768)
    return model, lambda x: model(x, encoder_hidden_states=text).sample


def make(name, _):
    adapter, kind, path = name.split()
    options = dict(ADAPTERS[adapter])
    dims = {key.replace("linear", "conv"): options[key] for key in ("linear_dim", "linear_alpha")}
    model, forward = block(kind)
    model.requires_grad_(False)
    LycorisNetwork.apply_preset({"enable_conv": True, "target_module": ["Linear", "Conv2d"], "target_name": []})
    network = create_lycoris(model, 1.0, **options, **dims, bypass_mode=path == "shortcut")
    network.apply_to()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    x = torch.randn(1, 640, 32, 32, requires_grad=True)

    def once():
        optimizer.zero_grad()
        forward(x).square().mean().backward()
        optimizer.step()

    # The model does not hold the modules that took over its forward passes.
    once.network = network
    return once


if __name__ == "__main__":
    logger.setLevel("ERROR")
    compare(__doc__, "train", [True], make, memory=True)
