"""Adapter files as OneTrainer, PEFT (OFT) and ai-toolkit write them, and the weights that these act with.

Pinned: Python 3.11, peft 0.21.2, torch 2.11.0 (CPU), numpy 2.4.6, safetensors 0.8.0.

    pip install peft==0.21.2 torch==2.11.0 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_trainers.py

Writes `trainers/` beside this file; two runs give the same bytes. PEFT (Apache-2.0) is only imported, of the other two the
names of keys and the formulas are used; the weights are computed in f64 from the tensors as the files round them.

* `onetrainer_oft`: OFTv2 in kohya's names, of a linear layer, a convolution of one tap whose groups share a block, and one
  of nine taps that is scaled; `onetrainer_oft_dotted` the same as it is kept in its backups, where the flag is a bool.
* `peft_oft`, `peft_oft_exact`: PEFT's OFT by the series and by the whole Cayley transform, merged by PEFT.
* `aitoolkit_lora`: of UNet and text encoder, with what it trains whole (a norm) beside; `aitoolkit_lokr`: whole factors, of
  which alpha, a rank without a bound, is infinite in F16; `aitoolkit_dora`, `aitoolkit_flux`: DoRA; names of transformers.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import peft
import torch
from safetensors.torch import save_file
from torch import nn

OUT = Path(__file__).parent / "trainers"
Q = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
PROJ = "unet.mid_block.attentions.0.proj_in"
CONV = "unet.mid_block.resnets.0.conv1"
NORM = "unet.mid_block.resnets.0.norm1"
FC1 = "text_encoder.text_model.encoder.layers.0.mlp.fc1"
QKV = "double_blocks.0.img_attn.qkv"
SHAPES = {Q: (8, 6), PROJ: (8, 6, 1, 1), CONV: (8, 4, 3, 3), NORM: (4,), FC1: (6, 4), QKV: (6, 4)}

draws = np.random.default_rng(12)


def normal(*shape, size=1.0):
    return (size * draws.standard_normal(shape)).astype(np.float32)


BASE = {f"{layer}.weight": normal(*shape) for layer, shape in SHAPES.items()} | {f"{NORM}.bias": normal(4)}


def exact(layer):
    return BASE[f"{layer}.weight"].astype(np.float64)


def kohya(layer):
    model, path = layer.split(".", 1)
    return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[model] + path.replace(".", "_")


def write(name, tensors, metadata=None):
    tensors = {key: value if isinstance(value, torch.Tensor) else torch.from_numpy(value) for key, value in tensors.items()}
    save_file(tensors, OUT / f"{name}.safetensors", metadata)


def acting(name, weights):
    write(f"{name}.expected", {f"{key}.weight": value.astype(np.float32) for key, value in weights.items()})


# OneTrainer


def rotations(entries, size, scaled):
    """R = I + 2Q + 2Q^2 + 2Q^3 + Q^4 of every block."""
    blocks = []
    for row in entries.astype(np.float64) / (2 * np.sqrt(size - 1) if scaled else 1):
        v = np.zeros((size, size))
        v[np.triu_indices(size, 1)] = row
        q = v - v.T
        blocks.append(np.eye(size) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q)
    return blocks


def block_diagonal(blocks, inputs):
    size = len(blocks[0])
    r = np.zeros((inputs, inputs))
    for i in range(inputs // size):
        r[i * size:(i + 1) * size, i * size:(i + 1) * size] = blocks[i % len(blocks)]
    return r


def onetrainer_oft():
    flat, dotted, weights = {}, {}, {}
    for layer, count, size, scaled in ((Q, 2, 3, False), (PROJ, 1, 2, False), (CONV, 9, 4, True), (FC1, 1, 4, True)):
        entries = normal(count, size * (size - 1) // 2, size=0.3)
        w0 = exact(layer).reshape(len(exact(layer)), -1)
        r = block_diagonal(rotations(entries, size, scaled), w0.shape[1])
        # Inputs are turned, x R, before a linear layer; of a convolution it is the weight.
        weights[layer] = (w0 @ (r.T if exact(layer).ndim == 2 else r)).reshape(exact(layer).shape)
        for tensors, name, flag in ((flat, kohya(layer), torch.tensor(1.0)), (dotted, layer, torch.tensor(True))):
            tensors[f"{name}.oft_R.weight"] = entries
            if scaled:
                tensors[f"{name}.oft_R.scaled_oft"] = flag
    about = {"ot_branch": "master", "ot_revision": "23df3832", "modelspec.title": "t"}
    write("onetrainer_oft", flat, about)
    write("onetrainer_oft_dotted", dotted, about)
    acting("onetrainer_oft", weights)


# PEFT


def of_peft(name, **options):
    net = nn.Module()
    net.lin, net.conv = nn.Linear(6, 8, bias=False), nn.Conv2d(6, 8, 1, bias=False)
    with torch.no_grad():
        net.lin.weight.copy_(torch.from_numpy(BASE[f"{Q}.weight"]))
        net.conv.weight.copy_(torch.from_numpy(BASE[f"{PROJ}.weight"]))
    net = peft.get_peft_model(net, peft.OFTConfig(target_modules=["lin", "conv"], oft_block_size=3, r=0, **options))
    with torch.no_grad():
        for key, value in sorted(net.named_parameters()):
            if value.requires_grad:
                value.copy_(torch.from_numpy(normal(*value.shape, size=0.3)))
    folder = OUT / name
    net.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    about = folder / "adapter_config.json"
    said = json.loads(about.read_text())
    said["target_modules"].sort()  # PEFT keeps a set
    about.write_text(json.dumps(said, indent=2) + "\n")
    x = torch.from_numpy(normal(5, 6))
    before = net.base_model.model.lin(x), net.base_model.model.conv(x.reshape(5, 6, 1, 1))
    merged = net.merge_and_unload()
    for one, other in zip(before, (merged.lin(x), merged.conv(x.reshape(5, 6, 1, 1)))):
        assert torch.allclose(one, other, atol=1e-5)  # the forward pass acts alike
    save_file({key: value.contiguous() for key, value in merged.state_dict().items()}, folder / "expected.safetensors")
    base = {"lin.weight": BASE[f"{Q}.weight"], "conv.weight": BASE[f"{PROJ}.weight"]}
    write("peft_base", base)


# ai-toolkit


def half(*shape, size=1.0):
    return normal(*shape, size=size).astype(np.float16)


def product(up, down, shape):
    up, down = (value.astype(np.float64).reshape(len(value), -1) for value in (up, down))
    return (up @ down).reshape(shape)


ABOUT = {
    "format": "pt", "name": "lily", "ss_base_model_version": "sd_1.5", "training_info": '{"step": 20, "epoch": 1}',
    "software": '{"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit", "version": "0.7.18"}',
}


def aitoolkit_lora():
    tensors, weights = {}, {}
    for layer in (Q, PROJ, FC1):
        shape = SHAPES[layer]
        down, up = half(2, *shape[1:]), half(shape[0], 2, *[1] * (len(shape) - 2))
        weights[layer] = exact(layer) + 1.0 / 2 * product(up, down, shape)
        name = kohya(layer)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up,
                    f"{name}.alpha": np.array(1.0, dtype=np.float16)}
    tensors |= {f"{kohya(NORM)}.diff": half(4), f"{kohya(NORM)}.diff_b": half(4)}
    weights[NORM] = exact(NORM) + tensors[f"{kohya(NORM)}.diff"]
    write("aitoolkit_lora", tensors, ABOUT)
    bias = BASE[f"{NORM}.bias"] + tensors[f"{kohya(NORM)}.diff_b"].astype(np.float32)
    write("aitoolkit_lora.expected",
          {f"{key}.weight": value.astype(np.float32) for key, value in weights.items()} | {f"{NORM}.bias": bias})


def aitoolkit_lokr():
    tensors, weights = {}, {}
    for layer, (w1, w2) in {Q: ((2, 2), (4, 3)), CONV: ((2, 2), (4, 2, 3, 3))}.items():
        w1, w2 = half(*w1), half(*w2)
        big = w1.astype(np.float64).reshape(*w1.shape, *[1] * (w2.ndim - 2))
        weights[layer] = exact(layer) + np.kron(big, w2.astype(np.float64))
        name = kohya(layer)
        tensors |= {f"{name}.lokr_w1": w1, f"{name}.lokr_w2": w2,
                    f"{name}.alpha": torch.tensor(9999999999).to(torch.float16)}
    assert all(value.isinf() for key, value in tensors.items() if key.endswith("alpha"))
    write("aitoolkit_lokr", tensors, ABOUT)
    acting("aitoolkit_lokr", weights)


def aitoolkit_dora():
    down, up = half(2, 6), half(8, 2)
    inner = exact(Q) + product(up, down, (8, 6))  # it keeps no alpha
    norms = np.linalg.norm(inner, axis=1)
    magnitude = (norms * draws.uniform(0.8, 1.2, 8)).astype(np.float16)
    name = kohya(Q)
    write("aitoolkit_dora", {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.magnitude": magnitude}, ABOUT)
    acting("aitoolkit_dora", {Q: (magnitude / norms)[:, None] * inner})


def aitoolkit_flux():
    w1, w2 = half(2, 2), half(3, 2)
    bf16 = {"lokr_w1": w1, "lokr_w2": w2, "alpha": torch.tensor(9999999999)}
    tensors = {f"diffusion_model.{QKV}.{key}": torch.as_tensor(value).to(torch.bfloat16) for key, value in bf16.items()}
    w1, w2 = (tensors[f"diffusion_model.{QKV}.lokr_w{i}"].double().numpy() for i in (1, 2))
    write("aitoolkit_flux", tensors, ABOUT)
    acting("aitoolkit_flux", {QKV: exact(QKV) + np.kron(w1, w2)})


def main():
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    write("base", {key: value for key, value in BASE.items() if not key.startswith(QKV)})
    write("flux", {key: value for key, value in BASE.items() if key.startswith(QKV)})
    onetrainer_oft()
    of_peft("peft_oft")
    of_peft("peft_oft_exact", use_cayley_neumann=False, block_share=True)
    aitoolkit_lora()
    aitoolkit_lokr()
    aitoolkit_dora()
    aitoolkit_flux()


if __name__ == "__main__":
    main()
