"""Adapter files written by LyCORIS, and the weights that its forward pass acts with.

Pinned: Python 3.11, lycoris-lora 4.1.3, torch 2.15.0 (CPU), safetensors 0.8.0.

    pip install lycoris-lora==4.1.3 torch==2.15.0 safetensors==0.8.0
    python -B tests/reference/make_lycoris.py

Writes `lycoris/` beside this file; two runs give the same bytes. LyCORIS is Apache-2.0 and is only imported.

Every trainable tensor is drawn at random, so that nothing is at its initial value. The expected weights are read off
the forward pass with one-hot inputs, never off `merge_to` or `get_merged_weight`, which differ from it (LoHa, LoKr).
"""

import json
import zlib
from pathlib import Path

import torch
from lycoris import LycorisNetwork, create_lycoris, create_lycoris_from_weights
from lycoris.logging import logger
from lycoris.modules.tlora import clear_timestep_mask, compute_timestep_mask, set_timestep_mask
from safetensors.torch import load_file, save_file

from lycoris_cases import CASES, LAYERS, base_model
from lycoris_measure import measure, relative

OUT = Path(__file__).parent / "lycoris"
RELOADS = 1e-6  # a reloaded adapter that is this close counts as exact
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "native": None}

# Product of the standard deviations of the factor tensors, so that the update is of the order of the base.
SPREAD = {"lora": 0.09, "loha": 0.04, "lokr": 0.05, "glora": 0.004, "dylora": 0.09, "diag-oft": 0.12, "boft": 0.1}
# Tensors whose initial value has a meaning are moved away from it instead of being replaced.
SCALED = {"dora_scale": 0.2, "rescale": 0.2}
SHIFTED = dict.fromkeys(("q_layer", "p_layer", "weight", "bias", "w_norm", "b_norm"), 0.1) | {"lambda_layer": 0.4}


def name_in_file(layer):
    return "lycoris_" + layer.replace(".", "_")


def build(case, model):
    """LyCORIS's wrapper over the case's layers. Presets are class state, so every field is set each time."""
    keep_out = [name.replace(".", r"\.") + "$" for name in LAYERS if name not in case.layers]
    LycorisNetwork.apply_preset({
        "enable_conv": True,
        "target_module": ["Linear", "Conv1d", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm"],
        "target_name": [],
        "module_algo_map": {},
        "name_algo_map": {".*": {"algo": case.wrapper_algo, **case.module_options}} if case.module_options else {},
        "lora_prefix": "lycoris",
        "use_fnmatch": False,
        "exclude_name": keep_out,
    })
    network = create_lycoris(model, 1.0, algo=case.wrapper_algo, warn_on_unmatched=False, **case.options)
    network.apply_to()
    assert {m.lora_name for m in network.loras} == {name_in_file(name) for name in case.layers}, case.name
    return network.eval()


@torch.no_grad()
def randomise(network, algorithm, generator):
    for module in network.loras:
        stems = [name.split(".")[0] for name, _ in module.named_parameters()]
        factors = set(stems) - {"scalar", *SCALED, *SHIFTED}
        for stem, tensor in zip(stems, module.parameters()):
            noise = torch.randn(tensor.shape, generator=generator)
            if stem == "scalar":
                tensor.copy_(0.7 + 0.1 * noise)
            elif stem in SCALED:
                tensor.mul_(1 + SCALED[stem] * noise)
            elif stem in SHIFTED:
                tensor.add_(SHIFTED[stem] * noise)
            else:
                tensor.copy_(SPREAD[algorithm.removesuffix("+dora")] ** (1 / len(factors)) * noise)


def dylora_prefixes(case, network, model, tensors):
    """W0 + alpha/r * up[:, :r'] down[:r'] with r the rank of the file: one scale for every prefix.

    LyCORIS itself trains block b with alpha/(b+1), draws b anew in each call, and saves a file that its own loader
    reads with alpha/r: its forward pass has no one answer, so the formula is the reference. The factor between the
    two is checked here.
    """
    expected = {}
    for module in network.loras:
        layer = case.layer_of(module.lora_name)
        base = model.get_submodule(layer).weight.detach()
        up, down, alpha = (tensors[f"{module.lora_name}.{k}"] for k in ("lora_up.weight", "lora_down.weight", "alpha"))
        full = up.shape[1]
        for rank in range(module.block_size, full + 1, module.block_size):
            delta = (up[:, :rank] @ down[:rank].flatten(1)).reshape(base.shape) * (alpha / full)
            block = rank // module.block_size - 1
            own = module.get_diff_weight(rank=block * module.block_size)[0].detach()
            assert relative(own * (block + 1) / full, delta) < 1e-6
            expected[f"{layer}.weight@" + ("1" if rank == full else f"rank={rank}")] = base + delta
    return expected


def forward_weights(case, network, model, base):
    """What the layers act with at each strength, and under a truncated T-LoRA mask."""
    expected = {}
    for strength in case.strengths:
        network.set_multiplier(strength)
        for layer in case.layers:
            weight, bias = measure(model.get_submodule(layer))
            expected[f"{layer}.weight@{strength}"] = weight
            origin = base.get(f"{layer}.bias", torch.zeros_like(bias))
            if case.algorithm in ("full", "norm") and f"{layer}.bias" in base:
                expected[f"{layer}.bias@{strength}"] = bias
            else:
                assert torch.allclose(bias, origin, rtol=0, atol=1e-6), f"{case.name} {layer}: bias moved"
    network.set_multiplier(1.0)
    for active, timestep in case.masks.items():
        mask = compute_timestep_mask(timestep, 1000, case.options["linear_dim"])
        assert mask.sum() == active, f"{case.name}: {mask}"
        set_timestep_mask(mask)
        for layer in case.layers:
            expected[f"{layer}.weight@mask={active}"] = measure(model.get_submodule(layer))[0]
        clear_timestep_mask()
    return expected


def reload(tensors, layers):
    """A fresh base with LyCORIS's own reading of the file."""
    names = {name_in_file(layer) for layer in layers}
    model = base_model()
    chosen = {key: value for key, value in tensors.items() if key.split(".")[0] in names}
    network, _ = create_lycoris_from_weights(1.0, None, model, weights_sd=chosen)
    network.apply_to()
    network.eval()
    assert len(network.loras) == len(layers)
    return model


def reload_report(case, tensors, expected):
    """Layer by layer, so that one that cannot be loaded does not hide the others."""
    by_layer, worst, error = {}, 0.0, None
    for layer in case.layers:
        try:
            model = reload(tensors, [layer])
            weight, _ = measure(model.get_submodule(layer))
        except Exception as exception:  # whatever LyCORIS raises is the finding
            message = f"{type(exception).__name__}: {exception}".splitlines()[0]
            error, by_layer[layer] = error or message, "error"
            continue
        deviation = relative(weight, expected[f"{layer}.weight@1"])
        by_layer[layer] = "exact" if deviation < RELOADS else "deviates"
        worst = max(worst, deviation)
    outcome = next(o for o in ("error", "deviates", "exact") if o in by_layer.values())
    report = {"reload": outcome}
    if worst >= RELOADS:
        report["reload_deviation"] = float(f"{worst:.2e}")
    if error:
        report["reload_error"] = error
    if len(set(by_layer.values())) > 1:
        report["reload_by_layer"] = by_layer
    return report


def check(case, network, expected, base):
    """The update is of the order of the base, and strength means what the manifest's readers take it to mean."""
    for layer in case.layers:
        origin, full = base[f"{layer}.weight"], expected[f"{layer}.weight@1"]
        update = relative(full, origin)
        assert 0.03 < update < 1.1, f"{case.name} {layer}: relative update {update:.3f}"
        if 0.6 in case.strengths:
            off_line = relative(expected[f"{layer}.weight@0.6"], origin + 0.6 * (full - origin))
            stage_wise = case.algorithm == "boft"
            assert off_line > 1e-3 if stage_wise else off_line < 1e-6, f"{case.name} {layer}: {off_line:.1e}"
    for module in network.loras:
        if case.constraint_active is not None:
            skew = module.oft_blocks - module.oft_blocks.transpose(-1, -2)
            assert (skew.norm() > module.constraint).item() == case.constraint_active, f"{case.name} {module.lora_name}"


def make(case):
    seed = zlib.crc32(case.name.encode())
    torch.manual_seed(seed)
    model = base_model()
    base = {key: value.clone() for key, value in model.state_dict().items()}
    network = build(case, model)
    start = {key: value.detach().clone() for key, value in network.state_dict().items()}
    randomise(network, case.algorithm, torch.Generator().manual_seed(seed))

    path = OUT / f"{case.name}.safetensors"
    with torch.no_grad():
        network.save_weights(str(path), DTYPES[case.dtype], {})
    tensors = load_file(path)
    if case.dtype in ("f16", "bf16"):
        rounded = reload(tensors, case.layers)  # the file's values, not the network's, are what a reader gets
        expected = {f"{layer}.weight@1": measure(rounded.get_submodule(layer))[0] for layer in case.layers}
    elif case.algorithm == "dylora":
        expected = dylora_prefixes(case, network, model, tensors)
    else:
        expected = forward_weights(case, network, model, base)
    check(case, network, expected, base)
    save_file(expected, OUT / f"{case.name}.expected.safetensors")

    entry = {"case": case.name, "algorithm": case.algorithm, "options": {**case.options, **case.module_options}}
    entry |= {"constructor": "name_algo_map" if case.module_options else "create_lycoris", "saved_dtype": case.dtype}
    entry |= {"layers": case.layers, "strengths": case.strengths}
    if case.algorithm == "dylora":
        entry["ranks"] = sorted({int(k.split("rank=")[1]) for k in expected if "rank=" in k})
    if case.masks:
        entry["masks"] = case.masks
    if case.base_file:  # keys of our own: LyCORIS keeps these tensors out of its file
        entry["base_file"] = f"{case.name}.base.safetensors"
        frozen = {".base_".join(k.split(".", 1)): v for k, v in start.items() if not k.endswith(".alpha")}
        save_file(frozen, OUT / entry["base_file"])
    return entry | reload_report(case, tensors, expected)


def layer_table(model):
    """Kind and geometry of every layer of the base model."""
    fields = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding")
    fields += ("dilation", "groups", "normalized_shape", "num_groups", "num_channels", "eps")
    table = {}
    for name in LAYERS:
        layer = model.get_submodule(name)
        values = {f: getattr(layer, f) for f in fields if hasattr(layer, f)}
        table[name] = {"kind": type(layer).__name__, **values, "bias": layer.bias is not None}
    return table


def write_json(path, value):
    """One line per entry."""
    items = [json.dumps(v) for v in value] if isinstance(value, list) else [
        f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    path.write_text(opening + "\n  " + ",\n  ".join(items) + "\n" + closing + "\n")


def main():
    torch.set_num_threads(1)
    logger.setLevel("ERROR")
    OUT.mkdir(exist_ok=True)
    for stale in OUT.iterdir():
        stale.unlink()
    model = base_model()
    save_file(model.state_dict(), OUT / "base.safetensors")
    write_json(OUT / "layers.json", layer_table(model))
    write_json(OUT / "manifest.json", [make(case) for case in CASES])


if __name__ == "__main__":
    main()
