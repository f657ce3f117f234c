"""Whether LyCORIS loads the adapter files that this repository writes, and acts with them as it should.

Pinned as make_lycoris.py: Python 3.11, lycoris-lora 4.1.3, torch 2.15.0 (CPU), safetensors 0.8.0.

    cargo run --release -p higanbana --example write_files -- target/written
    python -B tests/reference/check_written.py target/written

Writes `written.json` beside this file, one line per file. LyCORIS loads the file layer by layer, so that one that it
cannot load does not hide the others; the weight and bias of the forward pass are measured as make_lycoris.py measures
them and compared with what LyCORIS acted with when it trained the file (`rewritten/`), or with the model that
`higanbana merge` makes of the file (`extracted/`).

A file is `exact` when no weight or bias deviates by more than 1e-6, relative Frobenius norm. Where a rewritten file is
not, `own_file` says what LyCORIS makes of its own. `hash` is the `sshs_model_hash` of a rewritten file with LyCORIS's
keys and no others: a test rewrites the file and compares. Of an extracted file, whose last bits depend on the
processor that decomposed the matrices, `tensors` has shape, dtype and norm: a test extracts again and compares.
"""

import json
import sys
from pathlib import Path

import torch
from lycoris import LycorisNetwork, create_lycoris_from_weights
from lycoris.logging import logger
from safetensors import safe_open
from safetensors.torch import load_file

from lycoris_cases import LAYERS, base_model
from lycoris_measure import measure, relative
from make_lycoris import OUT, RELOADS, write_json


def act(tensors, prefix, layer):
    """Weight and bias that a layer of a fresh base acts with once LyCORIS has loaded the tensors of that layer."""
    name = f"{prefix}_{layer.replace('.', '_')}"
    model = base_model()
    LycorisNetwork.apply_preset({"lora_prefix": prefix})
    chosen = {key: value for key, value in tensors.items() if key.split(".")[0] == name}
    network, _ = create_lycoris_from_weights(1.0, None, model, weights_sd=chosen)
    assert len(network.loras) == 1, "LyCORIS passes over it"
    network.apply_to()
    network.eval()
    return dict(zip(("weight", "bias"), measure(model.get_submodule(layer))))


def check(path, prefix, layers, expected):
    """One line of the report."""
    tensors, report = load_file(path), {"file": f"{path.parent.name}/{path.stem}"}
    by_layer, worst = {}, 0.0
    for layer in layers:
        try:
            acts = act(tensors, prefix, layer)
        except Exception as exception:  # whatever LyCORIS raises is the finding
            by_layer[layer] = "error"
            report.setdefault("error", f"{type(exception).__name__}: {exception}".splitlines()[0])
            continue
        here = {key.split(".")[-1]: value for key, value in expected.items() if key.rpartition(".")[0] == layer}
        assert "weight" in here, f"{path} {layer}"
        deviation = max(relative(acts[part], value) for part, value in here.items())
        by_layer[layer] = "exact" if deviation < RELOADS else "deviates"
        worst = max(worst, deviation)
    report["loads"] = next(o for o in ("error", "deviates", "exact") if o in by_layer.values())
    report["layers"] = len(layers)
    if any(o != "error" for o in by_layer.values()):
        report["deviation"] = float(f"{worst:.1e}")
    if len(set(by_layer.values())) > 1:
        report["by_layer"] = by_layer
    return report


def rewritten(folder, case):
    """A file of LyCORIS that we have read and written again."""
    expected = load_file(OUT / f"{case['case']}.expected.safetensors")
    expected = {key.removesuffix("@1"): value for key, value in expected.items() if key.endswith("@1")}
    path = folder / f"{case['case']}.safetensors"
    report = check(path, "lycoris", case["layers"], expected)
    if report["loads"] != "exact":
        report["own_file"] = case["reload"]
    if load_file(path).keys() == load_file(OUT / path.name).keys():  # else it holds what we computed
        with safe_open(path, "pt") as file:
            report["hash"] = file.metadata()["sshs_model_hash"]
    return report


def extracted(path):
    """A file that we have taken from two checkpoints."""
    names = {key.split(".")[0] for key in load_file(path)}
    layers = [layer for layer in LAYERS if "lora_unet_" + layer.replace(".", "_") in names]
    assert len(layers) == len(names), f"{path}: names that no layer has"
    report = check(path, "lora_unet", layers, load_file(path.with_suffix(".merged.safetensors")))
    tensors = sorted(load_file(path).items())
    report["tensors"] = {key: [list(x.shape), str(x.dtype), float(f"{x.double().norm():.7g}")] for key, x in tensors}
    return report


def main():
    torch.set_num_threads(1)
    logger.setLevel("ERROR")
    folder = Path(sys.argv[1])
    cases = json.loads((OUT / "manifest.json").read_text())
    files = [path for path in sorted((folder / "extracted").glob("*.safetensors"))
             if path.with_suffix(".merged.safetensors").exists()]
    with torch.no_grad():
        report = [rewritten(folder / "rewritten", case) for case in cases] + [extracted(path) for path in files]
    write_json(Path(__file__).with_name("written.json"), report)


if __name__ == "__main__":
    main()
