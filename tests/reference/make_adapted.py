"""What LyCORIS's adapters on diffusers' UNet compute: the output, and the gradients that PyTorch finds.

Pinned: lycoris-lora 4.1.3, diffusers 0.42.1, transformers 5.23.0, torch 2.11.0, numpy 2.4.6, safetensors 0.8.0.

    pip install lycoris-lora==4.1.3 diffusers==0.42.1 transformers==5.23.0 torch==2.11.0 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_adapted.py

Writes `diffusion/adapted/` beside this file. As in `make_diffusion.py`, whose formula it takes, no weights are stored:
an adapter's tensor is computed from the path of its layer and its own name.
"""

import torch
from diffusers import UNet2DConditionModel
from lycoris import LycorisNetwork, create_lycoris
from safetensors.torch import save_file

from make_diffusion import OUT, SMALL, fill, tensor, unet_inputs

# Options of LyCORIS, and the size of the random part of each trained tensor.
CASES = {
    "lora": (dict(algo="locon"), 0.3),
    "loha": (dict(algo="loha"), 0.5),
    "lokr": (dict(algo="lokr", factor=4), 0.4),
    "lora+dora": (dict(algo="locon", dora_wd=True, wd_on_out=True), 0.3),
    "glora": (dict(algo="glora"), 0.2),
    "diag-oft": (dict(algo="diag-oft"), 0.2),
    "boft": (dict(algo="boft"), 0.2),
}
# Of tensors whose initial value has a meaning the random part is added to it.
MOVED = {"dora_scale": 0.1}


def adapted(options, scale):
    """A UNet with adapters on every layer of transformers, residual blocks and samplers; their trained tensors by name."""
    model = fill(UNet2DConditionModel(**SMALL)).requires_grad_(False)
    LycorisNetwork.apply_preset({
        "enable_conv": True,
        "target_module": ["Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"],
        "target_name": [],
        "module_algo_map": {},
        "name_algo_map": {},
        "lora_prefix": "lycoris",
        "use_fnmatch": False,
        "exclude_name": [],
    })
    dims = dict(linear_dim=4, linear_alpha=2.0, conv_dim=4, conv_alpha=2.0)
    network = create_lycoris(model, 1.0, **dims, **options)
    network.apply_to()
    paths = {"lycoris_" + path.replace(".", "_"): path for path, _ in model.named_modules()}
    named = {}
    for module in network.loras:
        for key, parameter in module.named_parameters():
            stem = key.split(".")[0]
            name = f"{paths[module.lora_name]}.{stem}"
            with torch.no_grad():
                if stem in MOVED:
                    parameter.mul_(1 + tensor(name, tuple(parameter.shape), MOVED[stem]))
                else:
                    parameter.copy_(tensor(name, tuple(parameter.shape), scale))
            named[name] = parameter
    # The network must outlive the model: its modules hold the layers' forward passes.
    return model, network, dict(sorted(named.items()))


def main():
    (OUT / "adapted").mkdir(exist_ok=True)
    for case, (options, scale) in CASES.items():
        model, _network, named = adapted(options, scale)
        inputs = unet_inputs(model, (8, 6))
        inputs["sample"].requires_grad_(True)
        out = model(**inputs).sample
        (out * tensor("probe", tuple(out.shape))).sum().backward()
        gradients = {name: parameter.grad.double() for name, parameter in named.items()}
        dots = [(g * tensor(f"grad {name}", tuple(g.shape)).double()).sum() for name, g in gradients.items()]
        tensors = {
            "out": out.detach(),
            "grad sample": inputs["sample"].grad,
            "grad norms": torch.stack([g.norm() for g in gradients.values()]).float(),
            "grad dots": torch.stack(dots).float(),
        }
        save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "adapted" / f"{case}.safetensors")


if __name__ == "__main__":
    main()
