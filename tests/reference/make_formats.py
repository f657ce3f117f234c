"""Files of the formats that are not LyCORIS's safetensors, and what they hold: PyTorch's pickles by torch, 8-bit floats by
ml_dtypes, cloneofsimo's counted pairs by the order of diffusers' modules. Written once; every value is a dyadic number.

    pip install torch==2.11.0 numpy==2.4.6 safetensors==0.8.0 ml_dtypes==0.6.0
    python -B tests/reference/make_formats.py
"""

import json
import os
import sys
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from safetensors.torch import save_file

OUT = Path(__file__).parent / "formats"


def ramp(*shape, step=0.25):
    return (torch.arange(int(np.prod(shape)), dtype=torch.float32) - 7).reshape(shape) * step


def pickles():
    """One dictionary, as trainers save it, in both containers; and its tensors as they are to be read."""
    flat = ramp(24)
    weights = {
        "model.diffusion_model.a.weight": ramp(4, 6).T,  # strides
        "model.diffusion_model.b.weight": flat[4:16].view(3, 4),  # one storage
        "model.diffusion_model.c.weight": flat[10:22].view(4, 3),  # the same, overlapping
        "half": ramp(2, 3).half(),
        "brain": ramp(5).bfloat16(),
        "double": ramp(3).double(),
        "whole": torch.tensor([-3, 2**40]),
        "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(0.5),
        "expanded": torch.tensor([1.5, 2.5]).expand(3, 2),
        "parameter": torch.nn.Parameter(ramp(2, 2)),
        "empty": torch.zeros(0, 3),
    }
    expected = {key: value.detach().contiguous().clone() for key, value in weights.items()}
    save_file(expected, OUT / "expected.safetensors")

    # Lightning's class is a key of the checkpoints of Stable Diffusion; none of it is needed to save the name of one.
    lightning = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    callback = type("ModelCheckpoint", (), {"__module__": lightning.__name__})
    lightning.ModelCheckpoint = callback
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", lightning.__name__):
        sys.modules[name] = lightning
    whole = {
        "epoch": 3,
        "global_step": 470000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": weights,
        "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "best_model_path": "x"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}],
        "lr_schedulers": [],
    }
    torch.save(whole, OUT / "whole.ckpt")
    plain = {key: value for key, value in whole.items() if key != "callbacks"}
    torch.save(plain, OUT / "legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(weights, OUT / "weights.bin")
    torch.save({"a": torch.ones(2), "evil": Evil()}, OUT / "hostile.pt")
    torch.save(Evil(), OUT / "hostile_root.pt", _use_new_zipfile_serialization=False)


class Evil:
    def __reduce__(self):
        return os.system, ("touch higanbana-was-here",)


def floats():
    """Every 8-bit float, and scaled ones."""
    for name, dtype in (("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)):
        bits = np.arange(256, dtype=np.uint8)
        values = bits.view(dtype).astype(np.float32)
        # NaN has no equal; the fixture holds 12345 there.
        values = np.nan_to_num(values, nan=12345.0, posinf=np.inf, neginf=-np.inf)
        bits = torch.from_numpy(bits).view(getattr(torch, np.dtype(dtype).name))
        save_file({name: bits, f"{name}.values": torch.from_numpy(values)}, OUT / f"{name}.safetensors")
    rows = torch.tensor([0.5, 2.0, -0.25]).reshape(3, 1)
    weight = ramp(3, 4, step=0.5).to(torch.float8_e4m3fn)
    scaled = {
        "model.diffusion_model.one.weight": weight,
        "model.diffusion_model.one.scale_weight": torch.tensor(0.75),
        "model.diffusion_model.one.scale_input": torch.tensor(9.0),
        "model.diffusion_model.rows.weight": weight.clone(),
        "model.diffusion_model.rows.weight_scale": rows,
        "model.diffusion_model.bare.weight": weight.clone(),
        "scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn),
    }
    save_file(scaled, OUT / "scaled.safetensors")
    exact = weight.float()
    save_file({"one": exact * 0.75, "rows": exact * rows, "bare": exact.clone()}, OUT / "scaled_expected.safetensors")


def pickled_floats():
    """Every 8-bit float in a pickle, alone, beside integers of 8 bits, and where no integer is left to stand for both."""
    bits = torch.arange(256, dtype=torch.uint8)
    floats = {name: bits.view(getattr(torch, dtype)) for name, dtype in (("e4m3", "float8_e4m3fn"), ("e5m2", "float8_e5m2"))}
    torch.save(floats | {"plain": ramp(3)}, OUT / "float8.pt")
    torch.save({"e5m2": floats["e5m2"], "bytes": bits[:4]}, OUT / "float8_bytes.pt")
    torch.save(floats | {"bytes": bits[:4]}, OUT / "float8_full.pt")
    torch.save({"e4m3": floats["e4m3"]}, OUT / "float8_legacy.pt", _use_new_zipfile_serialization=False)


def counted():
    """cloneofsimo/lora: the i-th pair is that of the i-th layer. Here by its rule, and by the names that kohya gives them."""
    blocks = [f"down_blocks.{b}.attentions.{a}" for b in range(3) for a in range(2)]
    blocks += [f"up_blocks.{b}.attentions.{a}" for b in (1, 2, 3) for a in range(3)] + ["mid_block.attentions.0"]
    layers = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj"]
    layers += ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
    unet = [f"{block}.transformer_blocks.0.{layer}" for block in blocks for layer in layers]
    text = [f"text_model.encoder.layers.{i}.self_attn.{p}_proj" for i in range(12) for p in ("k", "v", "q", "out")]
    assert (len(unet), len(text)) == (144, 48)

    ours, kohya, meta = {}, {}, {"<s1>": "<embed>", "<s2>": "<embed>"}
    lists = {}
    for model, names, prefix, targets in (
        ("unet", unet, "lora_unet_", ["CrossAttention", "Attention", "GEGLU"]),
        ("text_encoder", text, "lora_te_", ["CLIPAttention"]),
    ):
        meta[model] = json.dumps(targets)
        lists[model] = []
        for i, name in enumerate(names):
            up, down = torch.full((2, 1), (i + 1) / 8).half(), torch.tensor([[1.0, -(i % 5) / 4]]).half()
            lists[model] += [up, down]
            ours[f"{model}:{i}:up"], ours[f"{model}:{i}:down"] = up, down
            meta[f"{model}:{i}:rank"] = "1"
            module = prefix + name.replace(".", "_")
            kohya[f"{module}.lora_up.weight"], kohya[f"{module}.lora_down.weight"] = up.clone(), down.clone()
    ours["<s1>"], ours["<s2>"] = ramp(4), ramp(4, step=1.0)
    save_file(ours, OUT / "counted.safetensors", meta)
    save_file(kohya, OUT / "counted_by_name.safetensors")
    # Of the lists, the first two layers do.
    torch.save(lists["unet"][:20], OUT / "counted.pt")
    torch.save(lists["text_encoder"][:10], OUT / "counted.text_encoder.pt")
    torch.save({"<s1>": ours["<s1>"]}, OUT / "counted.ti.pt")


def rotated():
    """kohya's networks/oft.py: W = R^T W0 by blocks of rows, R = (I + Q)(I - Q)^-1, Q bounded by alpha times the rows."""
    r = np.random.default_rng(7)
    w0, blocks = r.standard_normal((8, 6)).astype(np.float32), r.standard_normal((2, 4, 4)).astype(np.float32)
    tensors = {"mid_block.attentions.0.proj_in.weight": w0}
    for name, alpha in (("free", 10.0), ("bounded", 0.0625)):
        q = blocks.astype(np.float64) - blocks.astype(np.float64).transpose(0, 2, 1)
        norm = np.linalg.norm(q)
        q = q * (min(norm, alpha * 8) + 1e-8) / (norm + 1e-8)
        eye = np.eye(4)
        for strength in (1.0, 0.5):
            turn = [eye + strength * ((eye + block) @ np.linalg.inv(eye - block) - eye) for block in q]
            rows = w0.astype(np.float64).reshape(2, 4, 6)
            turned = np.concatenate([one.T @ part for one, part in zip(turn, rows)])
            tensors[f"{name}@{strength:g}"] = turned.astype(np.float32)
        key = "oft_unet_mid_block_attentions_0_proj_in"
        adapter = {f"{key}.oft_blocks": torch.from_numpy(blocks), f"{key}.alpha": torch.tensor(alpha)}
        save_file(adapter, OUT / f"oft_{name}.safetensors")
    save_file({key: torch.from_numpy(value) for key, value in tensors.items()}, OUT / "oft_expected.safetensors")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    pickles()
    floats()
    pickled_floats()
    counted()
    rotated()
