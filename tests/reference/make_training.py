"""What torch, diffusers, LyCORIS and Pillow make of a training step and its parts.

Pinned: lycoris-lora 4.1.3, diffusers 0.42.1, transformers 5.23.0, torch 2.11.0 (CPU), numpy 2.4.6, pillow 13.0.0,
safetensors 0.8.0.

    pip install lycoris-lora==4.1.3 diffusers==0.42.1 transformers==5.23.0 torch==2.11.0 pillow==13.0.0
    python -B tests/reference/make_training.py

Writes `training/` beside this file. `<algorithm>.safetensors` is an adapter on four layers of the tiny UNet of
`diffusion/unet_sd1`, as LyCORIS saves it; `<algorithm>.expected.safetensors` holds for one batch the loss (`loss`), the
gradient of every trained tensor (`gradient.<module>.<tensor>`) and the tensors after ten steps of AdamW
(`after.<module>.<tensor>`; of `full` how far they are from where they began). The UNet's weights and
the batch are those of the formula of `make_diffusion.py`, and not stored. `parts.safetensors` holds the rest.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr
from lycoris import LycorisNetwork, create_lycoris
from PIL import Image
from safetensors.torch import save_file

from make_diffusion import fill, tensor
from make_lycoris import randomise

HERE = Path(__file__).parent
OUT = HERE / "training"
LAYERS = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2",
    "down_blocks.0.resnets.0.conv1",
]
NORM = ["mid_block.resnets.0.norm1"]
TIMES = [981, 3]
CASES = {
    "lora": {}, "loha": {}, "lokr": {"factor": 4}, "glora": {}, "ia3": {}, "diag-oft": {}, "boft": {}, "full": {}, "norm": {},
    "lora+dora": {"dora_wd": True}, "loha+dora": {"dora_wd": True}, "lokr+dora": {"dora_wd": True, "factor": 4},
}


def unet():
    config = json.loads((HERE / "diffusion/unet_sd1/config.json").read_text())
    return fill(UNet2DConditionModel.from_config(config)).requires_grad_(False)


def adapted(model, algorithm, options):
    layers = NORM if algorithm == "norm" else LAYERS
    others = [name.replace(".", r"\.") + "$" for name, _ in model.named_modules() if name and name not in layers]
    LycorisNetwork.apply_preset({
        "enable_conv": True, "target_module": ["Linear", "Conv2d", "GroupNorm"], "target_name": [], "module_algo_map": {},
        "name_algo_map": {}, "lora_prefix": "lycoris", "use_fnmatch": False, "exclude_name": others,
    })
    algo = algorithm.removesuffix("+dora")
    # Dimension 4 is the block size of the rotations.
    network = create_lycoris(
        model, 1.0, linear_dim=4, linear_alpha=2.0, conv_dim=4, conv_alpha=2.0, algo=algo, warn_on_unmatched=False,
        train_norm=algorithm == "norm", **options,
    )
    network.apply_to()
    assert len(network.loras) == len(layers), [m.lora_name for m in network.loras]
    randomise(network, algorithm, torch.Generator().manual_seed(7))
    return network


def step(algorithm, options):
    model = unet()
    network = adapted(model, algorithm, options)
    path = OUT / f"{algorithm}.safetensors"
    network.save_weights(str(path), torch.float32, {})
    tensors = {}
    noise = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    z, n = tensor("training latents", (2, 4, 8, 8)), tensor("training noise", (2, 4, 8, 8))
    times = torch.tensor(TIMES)
    noisy = noise.add_noise(z, n, times)
    context = tensor("training context", (2, 7, model.config.cross_attention_dim))
    trained = {f"{m.lora_name}.{name}": p for m in network.loras for name, p in m.named_parameters() if p.requires_grad}
    # LyCORIS's `full` trains the weight, not the difference: its decay would be another, and what is kept is the change.
    decay = 0.0 if algorithm == "full" else 0.01
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=decay)
    start = {k: p.detach().clone() for k, p in trained.items()} if algorithm == "full" else {}
    for number in range(10):
        loss = F.mse_loss(model(noisy, times, context).sample, n)
        optimizer.zero_grad()
        loss.backward()
        if number == 0:
            tensors["loss"] = loss.detach().reshape(1)
            tensors |= {f"gradient.{k}": p.grad.clone() for k, p in trained.items()}
        optimizer.step()
    tensors |= {f"after.{k}": p.detach() - start.get(k, torch.zeros(())) for k, p in trained.items()}
    save_file({k: v.contiguous() for k, v in sorted(tensors.items())}, OUT / f"{algorithm}.expected.safetensors")


def parts():
    out = {}
    scheduler = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    times = torch.arange(0, 1000, 37)
    out["snr"] = compute_snr(DDPMScheduler(**scheduler), times)
    # How diffusers' training scripts weight.
    out["min_snr_epsilon"] = torch.stack([out["snr"], 5 * torch.ones_like(times)], 1).min(1)[0] / out["snr"]
    out["min_snr_velocity"] = torch.stack([out["snr"], 5 * torch.ones_like(times)], 1).min(1)[0] / (out["snr"] + 1)
    coarse = tensor("coarse", (1, 1, 3, 2))
    out["coarse"], out["enlarged"] = coarse[0, 0], F.interpolate(coarse, size=(7, 9), mode="bilinear")[0, 0]
    pixels = ((tensor("pixels", (13, 10, 3), 1.0) * 0.5 + 0.5) * 255).round().to(torch.uint8)
    out["pixels"] = pixels
    for name, size in {"smaller": (4, 6), "larger": (15, 21), "mixed": (5, 20)}.items():
        resized = Image.fromarray(pixels.numpy()).resize(size, Image.Resampling.LANCZOS)
        out[name] = torch.from_numpy(np.asarray(resized).copy())
    for name in ["linear", "cosine", "polynomial"]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        options = {"power": 2.0} if name == "polynomial" else {}
        schedule = get_scheduler(name, optimizer, num_warmup_steps=0, num_training_steps=10, **options)
        rates = []
        for _ in range(10):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        out[f"schedule_{name}"] = torch.tensor(rates, dtype=torch.float64)
    save_file(out, OUT / "parts.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    parts()
    for algorithm, options in CASES.items():
        step(algorithm, options)
