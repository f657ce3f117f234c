"""Whether LyCORIS loads the adapters of this experiment, and acts with them as `higanbana merge` does.

Python 3.11, lycoris-lora 4.1.3, diffusers 0.42.1, torch 2.11.0 (CPU), safetensors 0.8.0.

    cargo build --release
    python -B check_lycoris.py ../../target/release/higanbana runs/*/*.safetensors

For each file: what the UNet makes of one input with LyCORIS's adapters on it and with merged weights, how far the two
are apart, and how far both are from the base; relative Frobenius norms.
"""

import copy
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from lycoris import LycorisNetwork, create_lycoris_from_weights
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent


def relative(a, b):
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def main(higanbana, files):
    base = UNet2DConditionModel.from_pretrained(HERE / "base/unet", torch_dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 3, 32, 32, generator=generator)
    context = torch.randn(2, 8, base.config.cross_attention_dim, generator=generator)
    run = lambda unet: unet(sample, torch.tensor([700, 30]), context).sample
    LycorisNetwork.apply_preset({"lora_prefix": "lora_unet"})
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            plain, merged = Path(folder) / "plain.safetensors", Path(folder) / "merged.safetensors"
            save_file(base.state_dict(), plain)
            subprocess.run([higanbana, "merge", plain, file, "-o", merged, "--strict"], check=True, stdout=subprocess.DEVNULL)
            ours = copy.deepcopy(base)
            ours.load_state_dict(load_file(merged))
        theirs, weights = copy.deepcopy(base), load_file(file)
        network, _ = create_lycoris_from_weights(1.0, None, theirs, weights_sd=weights)
        assert len(network.loras) == len({key.split(".")[0] for key in weights}), "LyCORIS passes over some"
        network.apply_to()
        network.eval()
        apart, moved = relative(run(theirs), run(ours)), relative(run(ours), run(base))
        print(f"{Path(file).name}: {len(network.loras)} modules, {apart:.1e} apart, {moved:.2f} from the base")


main(sys.argv[1], sys.argv[2:])
