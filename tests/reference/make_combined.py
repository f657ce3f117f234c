"""Two LoRAs of PEFT and their weighted sum, as PEFT concatenates them.

Pinned: torch 2.11.0, peft 0.21.2, numpy 2.4.6, safetensors 0.8.0.

    pip install torch==2.11.0 peft==0.21.2 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_combined.py

Writes `combined/`: the adapters `first` and `second` as PEFT saves them, of different ranks and alphas, and
`expected.safetensors`, the update of each layer that `add_weighted_adapter(..., combination_type="cat")`
makes of 0.8 first - 0.5 second. The same is checked against the explicit sum in f64.
"""

import json
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "combined"
STRENGTHS = {"first": 0.8, "second": -0.5}
CONFIGS = {"first": (2, 1.0, ["fc", "conv"]), "second": (3, 6.0, ["fc", "conv", "only_second"])}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 4)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.only_second = torch.nn.Linear(4, 6)

    def forward(self, x):
        return x


def config(name):
    rank, alpha, targets = CONFIGS[name]
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)


def update(layer, name):
    """scale * B A, the kernel of A at its end, in f64."""
    up, down = (m[name].weight.detach().double().numpy() for m in (layer.lora_B, layer.lora_A))
    product = up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    return layer.scaling[name] * product.reshape(len(up), *down.shape[1:])


torch.manual_seed(12)
model = get_peft_model(Model(), config("first"), "first")
model.add_adapter("second", config("second"))
layers = {key.removeprefix("base_model.model."): layer
          for key, layer in model.named_modules() if hasattr(layer, "lora_A")}
with torch.no_grad():
    for layer in layers.values():
        for name in layer.lora_B:
            layer.lora_B[name].weight.normal_()
model.add_weighted_adapter(list(STRENGTHS), list(STRENGTHS.values()), "sum", combination_type="cat")

expected = {}
for key, layer in layers.items():
    # A view in another order would be saved in that order.
    expected[f"{key}.weight"] = np.ascontiguousarray(layer.get_delta_weight("sum").detach().numpy())
    explicit = sum(mu * update(layer, name) for name, mu in STRENGTHS.items() if name in layer.lora_A)
    assert np.allclose(expected[f"{key}.weight"], explicit, rtol=1e-5, atol=1e-6), key
model.save_pretrained(OUT, selected_adapters=list(STRENGTHS))
(OUT / "README.md").unlink()
for name in STRENGTHS:
    # PEFT saves a set in whatever order it has.
    path = OUT / name / "adapter_config.json"
    saved = json.loads(path.read_text())
    saved["target_modules"].sort()
    path.write_text(json.dumps(saved, indent=2, sort_keys=True))
save_file(dict(sorted(expected.items())), OUT / "expected.safetensors", metadata={"format": "np"})
