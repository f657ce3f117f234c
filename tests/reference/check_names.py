"""Whether diffusers and PEFT load the adapter files that `higanbana convert` writes for them, and act with them as
with the files that these were made of.

Pinned as make_loras.py: diffusers 0.42.1, transformers 5.23.0, peft 0.21.2, torch 2.11.0, numpy 2.4.6, safetensors 0.8.0.

    cargo build --release
    python -B tests/reference/check_names.py target/release/higanbana

Writes `names.json` beside this file, one line per file: `deviation` is that of the latents of a pipeline of
`make_diffusion.py` from those that `make_loras.py` has of the file in kohya's names, or of the weights that PEFT merges
from those that it merged itself (`make_names.py`); `sha256` is that of the converted file: a test converts again and compares.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import peft
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lycoris_measure import relative
from make_diffusion import COMMON, OUT, tensor, tiny_pipelines
from make_lycoris import write_json
from make_names import OUT as NAMES, model

def convert(binary, source, to, out, *options):
    subprocess.run([binary, "convert", str(source), "--to", to, "-o", str(out), "--overwrite", *options],
                   check=True, capture_output=True)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def of_diffusers(binary, folder):
    expected = load_file(OUT / "loras" / "expected.safetensors")
    for name, pipe in zip(("sd", "sdxl"), tiny_pipelines()):
        vars(pipe.text_encoder).pop("text_model", None)  # as in make_loras.py
        others = sorted(NAMES.glob(f"{name}.*.safetensors"))
        for source in [OUT / "loras" / f"{name}.kohya.safetensors", *others]:
            out = folder / "out.safetensors"
            sha256 = convert(binary, source, "diffusers", out)
            pipe.load_lora_weights(load_file(out), adapter_name="it")
            with safe_open(source, "pt") as file:
                modules = len({key.split(".lora_")[0] for key in file.keys() if ".lora_" in key})
            loaded = sum(hasattr(layer, "lora_A") and "it" in layer.lora_A
                         for component in pipe.components.values() if isinstance(component, torch.nn.Module)
                         for layer in component.modules())
            assert loaded == modules, f"{source}: {loaded} of {modules} modules are loaded"
            pipe.set_adapters(["it"], [0.7])
            with torch.no_grad():
                latents = pipe(latents=tensor("pipeline noise", (1, 4, 8, 6)), **COMMON, guidance_scale=7.5).images
            pipe.unload_lora_weights()
            deviation = relative(latents, expected[f"{name} kohya"])
            yield {"file": source.stem, "to": "diffusers", "modules": modules,
                   "deviation": float(f"{deviation:.1e}"), "sha256": sha256}


def of_peft(binary, folder):
    """Through kohya's dialect and back."""
    base = ("--base", str(NAMES / "base.safetensors"))
    source, kohya = NAMES / "peft_dora" / "adapter_model.safetensors", folder / "kohya.safetensors"
    convert(binary, source, "kohya", kohya, *base)
    out = folder / "peft" / "adapter_model.safetensors"
    out.parent.mkdir()
    sha256 = convert(binary, kohya, "peft", out, *base)
    merged = peft.PeftModel.from_pretrained(model(), out.parent).merge_and_unload().state_dict()
    expected = load_file(source.with_name("expected.safetensors"))
    deviation = max(relative(merged[key], value) for key, value in expected.items())
    yield {"file": "peft_dora", "to": "peft", "modules": 2, "deviation": float(f"{deviation:.1e}"), "sha256": sha256}


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        reports = [*of_diffusers(sys.argv[1], Path(folder)), *of_peft(sys.argv[1], Path(folder))]
    write_json(Path(__file__).with_name("names.json"), reports)


if __name__ == "__main__":
    main()
