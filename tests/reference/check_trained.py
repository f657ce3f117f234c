"""Whether LyCORIS loads the adapters that `higanbana train` writes, and acts with them as this repository does.

Pinned as make_training.py.

    cargo build --release
    python -B tests/reference/check_trained.py target/release/higanbana

Trains as `training/run.toml` says, with each algorithm, and hands the file to LyCORIS on diffusers' UNet and on transformers'
text encoder. Their outputs are compared with those of the weights that `higanbana merge` makes of the file. Writes
`trained.json` beside this file, one line per algorithm: `loads` is `exact` when no output deviates by more than 1e-5, relative
Frobenius norm; `moved` is how far the adapter moved it. The last bits of a training depend on the processor: names and shapes of
the tensors (`table`) and their norm are what a test holds a training of its own against.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from lycoris import LycorisNetwork, create_lycoris_from_weights
from lycoris.logging import logger
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from lycoris_measure import relative
from make_diffusion import OUT, fill, fnv, tensor
from make_lycoris import write_json

HERE = Path(__file__).parent
CASES = {
    "lora": "", "loha": "", "lokr": "factor = 4", "dylora": "", "tlora": "", "glora": "", "ia3": "", "diag-oft": "", "boft": "",
    "full": "", "lora+dora": "", "loha+dora": "", "lokr+dora": "factor = 4",
}
EXACT = 1e-5
# Prefix of LyCORIS's names and file of the weights, of each part.
PARTS = {"unet": ("lora_unet", "diffusion_pytorch_model"), "text_encoder": ("lora_te_text_model", "model")}


def build(part):
    config = json.loads((OUT / "sd" / part / "config.json").read_text())
    if part == "unet":
        return fill(UNet2DConditionModel.from_config(config))
    if part == "vae":
        return fill(AutoencoderKL.from_config(config))
    model = CLIPTextModel(CLIPTextConfig(**config, attn_implementation="eager"))
    return fill(model, lambda key: f"text_model.{key}")


def write_model(folder):
    shutil.copytree(OUT / "sd", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for part in ("unet", "vae", "text_encoder"):
        _, stem = PARTS.get(part, PARTS["unet"])
        prefix = "text_model." if part == "text_encoder" else ""
        weights = {prefix + key: value.contiguous() for key, value in build(part).state_dict().items()}
        save_file(weights, folder / part / f"{stem}.safetensors")
    shutil.copytree(OUT / "tokenizer", folder / "tokenizer")
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"pad_token": {"content": "<|endoftext|>"}}')


def act(part, model):
    if part == "unet":
        times, context = torch.tensor([981.0, 3.0]), tensor("trained context", (2, 7, 16))
        return model(tensor("trained sample", (2, 4, 8, 8)), times, context).sample
    return model(torch.arange(77)[None] * 31 % 2512).last_hidden_state


def compare(part, tensors, merged):
    """How far LyCORIS with the file is from the merged weights, and those from the base."""
    prefix, _ = PARTS[part]
    chosen = {key: value for key, value in tensors.items() if key.startswith(prefix)}
    assert chosen, part
    own = build(part)
    weights = {key.removeprefix("text_model."): value for key, value in load_file(merged).items()}
    own.load_state_dict(weights)
    theirs = build(part)
    LycorisNetwork.apply_preset({"lora_prefix": prefix})
    network, _ = create_lycoris_from_weights(1.0, None, theirs, weights_sd=chosen)
    assert len(network.loras) == len({key.split(".")[0] for key in chosen}), "LyCORIS passes over some"
    network.apply_to()
    network.eval()
    return relative(act(part, theirs), act(part, own)), relative(act(part, own), act(part, build(part)))


def check(higanbana, folder, algorithm, options):
    def run(*arguments):
        subprocess.run([higanbana, *arguments], cwd=folder, check=True, capture_output=True)

    run("train", "run.toml", "--overwrite", "--set", f"adapter.algorithm={algorithm}", "--set", f"adapter.options={{{options}}}")
    path = folder / "runs" / "run" / "adapter.safetensors"
    tensors = load_file(path)
    shapes = "\n".join(f"{key} {list(value.shape)}" for key, value in sorted(tensors.items()))
    norm = torch.stack([value.double().norm() for value in tensors.values()]).norm().item()
    report = {"algorithm": algorithm, "options": options}
    outcomes = {}
    for part, (_, stem) in PARTS.items():
        run("merge", f"model/{part}/{stem}.safetensors", str(path), "-o", "merged.safetensors", "--overwrite")
        try:
            deviation, moved = compare(part, tensors, folder / "merged.safetensors")
            assert moved > 1e-3, (algorithm, part, moved)
            outcomes[part] = "exact" if deviation < EXACT else "deviates"
            report[part] = {"deviation": float(f"{deviation:.1e}"), "moved": float(f"{moved:.1e}")}
        except Exception as exception:  # whatever LyCORIS raises is the finding
            outcomes[part] = "error"
            report[part] = f"{type(exception).__name__}: {exception}".splitlines()[0]
    report["loads"] = next(o for o in ("error", "deviates", "exact") if o in outcomes.values())
    return report | {"table": f"{fnv(shapes):016x}", "norm": float(f"{norm:.6g}")}


def main():
    higanbana = Path(sys.argv[1]).resolve()
    torch.set_num_threads(1)
    logger.setLevel("ERROR")
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        write_model(folder / "model")
        shutil.copy(HERE / "training" / "run.toml", folder)
        shutil.copytree(HERE / "training" / "images", folder / "images")
        report = [check(higanbana, folder, algorithm, options) for algorithm, options in CASES.items()]
    write_json(HERE / "trained.json", report)


if __name__ == "__main__":
    main()
