"""A step of training of small UNets from scratch beside diffusers and PyTorch, on this machine, in this run: time and peak memory.

    pip install diffusers==0.42.1 torch
    python benches/scratch_torch.py [FILTER] [--rounds N]

Starts `benches/scratch.rs` and takes turns with it; `beside.py` says how.
"""

import json

import torch
from diffusers import UNet2DConditionModel

from beside import ROOT, compare

CONFIG = json.loads((ROOT / "experiments/06-first-adapter/base/unet/config.json").read_text())
BATCH, TOKENS = 16, 8


def make(name, _):
    widths = [int(width) for width in name.split("-")]
    model = UNet2DConditionModel.from_config({**CONFIG, "block_out_channels": widths})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    noisy, noise = torch.randn(2, BATCH, CONFIG["in_channels"], CONFIG["sample_size"], CONFIG["sample_size"])
    times = torch.randn(BATCH).abs() * 300
    context = torch.randn(BATCH, TOKENS, CONFIG["cross_attention_dim"])

    def once():
        optimizer.zero_grad()
        found = model(noisy, times, encoder_hidden_states=context).sample
        (found - noise).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return once


if __name__ == "__main__":
    compare(__doc__, "scratch", [True], make, memory=True)
