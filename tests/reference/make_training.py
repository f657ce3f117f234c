"""What torch, diffusers, LyCORIS and Pillow make of a training step and its parts.

Pinned: lycoris-lora 4.1.3, diffusers 0.42.1, transformers 5.23.0, torch 2.11.0 (CPU), numpy 2.4.6, pillow 13.0.0,
safetensors 0.8.0.

    pip install lycoris-lora==4.1.3 diffusers==0.42.1 transformers==5.23.0 torch==2.11.0 pillow==13.0.0
    python -B tests/reference/make_training.py

Writes `training/` beside this file. `<algorithm>.safetensors` is an adapter on four layers of the tiny UNet of
`diffusion/unet_sd1`, as LyCORIS saves it; `<algorithm>.expected.safetensors` holds for one batch the loss (`loss`), the
gradient of every trained tensor (`gradient.<module>.<tensor>`) and the tensors after ten steps of AdamW
(`after.<module>.<tensor>`; of `full` how far they are from where they began, in double precision: a step of Adam is as long
where the gradient is next to nothing, and of so many entries some have a sign there that is rounding). The UNet's weights and
the batch are those of the formula of `make_diffusion.py`, and not stored. `parts.safetensors` holds the rest, and
`images/` images in the formats of the field.

`lora+sdxl` is on the UNet of `diffusion/unet_sdxl`. `tlora` acts through the mask of the time in `times`, and
`orthogonality` times LyCORIS's regulariser is added to its loss. `dylora` trains the block `block` of one rank, which LyCORIS
draws; its alpha is such that the scale is that of the file, which LyCORIS's training departs from. Without `decay` that is
0.01.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr
from lycoris import LycorisNetwork, create_lycoris
from lycoris.modules.tlora import clear_timestep_mask, compute_timestep_mask, set_timestep_mask
from PIL import Image
from safetensors.torch import save_file

from make_diffusion import fill, tensor, unet_inputs
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
    "lora+sdxl": {}, "dylora": {"block_size": 1}, "tlora": {},
}
ORTHOGONALITY = 0.1
BLOCK = 2


def layers(case):
    if case == "norm":
        return NORM
    # LyCORIS's T-LoRA fails on kernels of several taps.
    layers = LAYERS[:3] if case == "tlora" else LAYERS
    return [layer.replace("blocks.0.attentions", "blocks.1.attentions") for layer in layers] if "sdxl" in case else layers


def unet(case):
    name = "unet_sdxl" if case == "lora+sdxl" else "unet_sd1"
    config = json.loads((HERE / f"diffusion/{name}/config.json").read_text())
    return fill(UNet2DConditionModel.from_config(config)).requires_grad_(False)


def adapted(model, case, options):
    chosen = layers(case)
    others = [name.replace(".", r"\.") + "$" for name, _ in model.named_modules() if name and name not in chosen]
    LycorisNetwork.apply_preset({
        "enable_conv": True, "target_module": ["Linear", "Conv2d", "GroupNorm"], "target_name": [], "module_algo_map": {},
        "name_algo_map": {}, "lora_prefix": "lycoris", "use_fnmatch": False, "exclude_name": others,
    })
    algorithm = case.removesuffix("+sdxl")
    # Dimension 4 is the block size of the rotations.
    network = create_lycoris(
        model, 1.0, linear_dim=4, linear_alpha=2.0, conv_dim=4, conv_alpha=2.0, algo=algorithm.removesuffix("+dora"),
        warn_on_unmatched=False, train_norm=case == "norm", **options,
    )
    network.apply_to()
    assert len(network.loras) == len(chosen), [m.lora_name for m in network.loras]
    randomise(network, algorithm, torch.Generator().manual_seed(7))
    return network


def whole(network, of):
    """What `of` makes of each trained tensor, by name; the blocks of DyLoRA as the one tensor that a file has."""
    found = {}
    for module in network.loras:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            stem, _, block = name.partition("_list.")
            name, dim = (f"lora_{stem}.weight", 1 if stem == "up" else 0) if block else (name, 0)
            found.setdefault((f"{module.lora_name}.{name}", dim), []).append(of(parameter))
    return {name: torch.cat(blocks, dim) for (name, dim), blocks in found.items()}


def step(case, options):
    model = unet(case)
    network = adapted(model, case, options)
    network.save_weights(str(OUT / f"{case}.safetensors"), torch.float32, {})
    tensors, times, regulariser = {}, TIMES, lambda: 0.0
    # LyCORIS's `full` trains the weight, not the difference: its decay would be another, and what is kept is the change.
    # A block of DyLoRA that is not trained has no gradient, and does not decay.
    decay = 0.0 if case in ("full", "dylora") else 0.01
    if case == "dylora":
        random.randint = lambda low, high: BLOCK
        for module in network.loras:
            module.alpha.copy_(module.alpha * (BLOCK + 1) / module.lora_dim)
        tensors |= {"block": torch.tensor([BLOCK]), "decay": torch.tensor([decay])}
    if case == "tlora":
        times = [481, 481]
        set_timestep_mask(compute_timestep_mask(times[0], 1000, 4))
        regulariser = lambda: ORTHOGONALITY * sum(sum(m.orthogonality_regularization()) for m in network.loras)
        tensors |= {"times": torch.tensor(times), "orthogonality": torch.tensor([ORTHOGONALITY])}
    noise = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    z, n = tensor("training latents", (2, 4, 8, 8)), tensor("training noise", (2, 4, 8, 8))
    times = torch.tensor(times)
    noisy = noise.add_noise(z, n, times)
    context = tensor("training context", (2, 7, model.config.cross_attention_dim))
    added = unet_inputs(model, (8, 8))["added_cond_kwargs"] if case == "lora+sdxl" else {}

    def backward(dtype):
        inputs = dict(encoder_hidden_states=context.to(dtype))
        inputs["added_cond_kwargs"] = {key: value.to(dtype) for key, value in added.items()}
        loss = F.mse_loss(model(noisy.to(dtype), times, **inputs).sample, n.to(dtype)) + regulariser()
        loss.backward()
        return loss.detach()

    tensors["loss"] = backward(torch.float32).reshape(1)
    gradients = whole(network, lambda p: torch.zeros_like(p) if p.grad is None else p.grad.clone())
    tensors |= {f"gradient.{name}": gradient for name, gradient in gradients.items()}
    # LyCORIS's rotations are in single precision whatever their tensors are.
    dtype = torch.float64 if case == "full" else torch.float32
    model.to(dtype)
    network.to(dtype)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=decay)
    start = whole(network, lambda p: p.detach().clone() * (case == "full"))
    for _ in range(10):
        optimizer.zero_grad()
        backward(dtype)
        optimizer.step()
    clear_timestep_mask()
    after = whole(network, lambda p: p.detach())
    tensors |= {f"after.{name}": (value - start[name]).float() for name, value in after.items()}
    save_file({k: v.contiguous() for k, v in sorted(tensors.items())}, OUT / f"{case}.expected.safetensors")


def images(out):
    """What Pillow reads of files in the formats of the field, which it wrote."""
    pixels = ((tensor("photo", (3, 4, 3), 1.0) * 0.5 + 0.5) * 255).round().to(torch.uint8)
    colour = Image.fromarray(pixels.numpy()).resize((24, 18), Image.Resampling.BICUBIC)
    alpha = colour.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(colour.size))
    folder = OUT / "images"
    folder.mkdir(exist_ok=True)
    for name, image, options in [
        ("colour.jpg", colour, dict(quality=90)), ("grey.jpeg", colour.convert("L"), dict(quality=90)),
        ("lossy.webp", colour, dict(quality=90)), ("alpha.webp", alpha, dict(lossless=True, exact=True)),
        ("alpha.png", alpha, {}), ("grey.png", colour.convert("L"), {}), ("palette.png", colour.quantize(16), {}),
    ]:
        image.save(folder / name, **options)
        with Image.open(folder / name) as image:
            rgb = np.asarray(image.convert("RGBA"))[..., :3] if "A" in image.mode else np.asarray(image.convert("RGB"))
        out[f"image.{name}"] = torch.from_numpy(rgb.copy())


def parts():
    out = {}
    images(out)
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
    for case, options in CASES.items():
        step(case, options)
