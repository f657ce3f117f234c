"""Adapter files whose names or scales other readers take otherwise, and what the library that wrote each acts with.

Pinned: Python 3.11, lycoris-lora 4.1.3, peft 0.21.2, torch 2.11.0 (CPU), safetensors 0.8.0.

    pip install lycoris-lora==4.1.3 peft==0.21.2 torch==2.11.0 safetensors==0.8.0
    python -B tests/reference/make_names.py

Writes `names/` beside this file; two runs give the same bytes. The libraries (Apache-2.0) are only imported.

* `glora_rs`: LyCORIS's GLoRA under rs_lora (rank 4, alpha 3, so that alpha/sqrt(r) is twice alpha/r). Its file has alpha as
  it is, and metadata as kohya's trainer writes them. The weights are those of the forward pass.
* `dylora`: LyCORIS's DyLoRA of six ranks in blocks of two at alpha 3. `weight` is what every program makes of its file,
  alpha/r; `trained` what LyCORIS trains at its full rank, alpha over the number of blocks.
* `peft_bias`, `peft_dora`: LoRA of PEFT with a bias of its own (rsLoRA), and with magnitudes, on a linear layer and a
  convolution. Weights and biases are those that PEFT merges.
* `sd.comfyui`, `sdxl.comfyui`, `sd.lycoris`: the files of `diffusion/loras/` in kohya's names, renamed.
"""

import json
import math
import shutil
from pathlib import Path

import peft
import torch
from lycoris import LycorisNetwork, create_lycoris
from lycoris.logging import logger
from safetensors.torch import load_file, save_file
from torch import nn

from lycoris_measure import measure, relative

OUT = Path(__file__).parent / "names"
LORAS = Path(__file__).parent / "diffusion" / "loras"
# What ComfyUI calls the layers of the files in kohya's names.
COMFY = {
    "lora_te_text_model_encoder_layers_1_self_attn_out_proj": (
        "text_encoders.clip_l.transformer.text_model.encoder.layers.1.self_attn.out_proj"
    ),
    "lora_te1_text_model_encoder_layers_0_self_attn_out_proj": (
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.out_proj"
    ),
    "lora_te2_text_model_encoder_layers_0_self_attn_out_proj": (
        "text_encoders.clip_g.transformer.text_model.encoder.layers.0.self_attn.out_proj"
    ),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0": (
        "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_out.0"
    ),
    "lora_unet_mid_block_attentions_0_proj_in": "diffusion_model.middle_block.1.proj_in",
    "lora_unet_mid_block_resnets_0_conv1": "diffusion_model.middle_block.0.in_layers.2",
    "lora_unet_middle_block_1_transformer_blocks_1_attn2_to_k": (
        "diffusion_model.middle_block.1.transformer_blocks.1.attn2.to_k"
    ),
    "lora_unet_middle_block_1_proj_in": "diffusion_model.middle_block.1.proj_in",
}


def model():
    net = nn.Module()
    net.lin, net.conv = nn.Linear(6, 8), nn.Conv2d(4, 8, 3, padding=1)
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net


@torch.no_grad()
def randomise(parameters, size, generator):
    """Nothing is at its initial value."""
    for parameter in parameters:
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))


def lycoris(algo, layers, rank, alpha, **options):
    net = model()
    LycorisNetwork.apply_preset({"enable_conv": True, "target_module": ["Linear", "Conv2d"], "target_name": [],
                                 "module_algo_map": {}, "name_algo_map": {".*": {"algo": algo, **options}},
                                 "lora_prefix": "lycoris", "use_fnmatch": False,
                                 "exclude_name": [name for name in ("lin", "conv") if name not in layers]})
    network = create_lycoris(net, 1.0, algo=algo, warn_on_unmatched=False, linear_dim=rank, conv_dim=rank,
                             linear_alpha=alpha, conv_alpha=alpha)
    network.apply_to()
    network.eval()
    randomise(network.parameters(), 0.4, torch.Generator().manual_seed(7))
    return net, network


def save(name, network, **args):
    """As kohya's trainer says of itself."""
    path = OUT / f"{name}.safetensors"
    metadata = {"ss_network_module": "lycoris.kohya", "ss_network_args": json.dumps(args)}
    with torch.no_grad():
        network.save_weights(str(path), torch.float32, metadata)
    return load_file(path)


def glora_rs():
    net, network = lycoris("glora", ["lin", "conv"], 4, 3.0, rs_lora=True)
    tensors = save("glora_rs", network, algo="glora", rs_lora="True")
    assert tensors["lycoris_lin.alpha"].item() == 3.0
    expected = {f"{name}.weight": measure(net.get_submodule(name))[0] for name in ("lin", "conv")}
    a1, a2, b1, b2 = (tensors[f"lycoris_lin.{key}.weight"] for key in ("a1", "a2", "b1", "b2"))
    w0 = model().lin.weight.detach()
    formula = w0 + 3.0 / math.sqrt(4) * (w0 @ a1 @ a2 + b1 @ b2)
    assert relative(expected["lin.weight"], formula) < 1e-6
    save_file(expected, OUT / "glora_rs.expected.safetensors")


def dylora():
    net, network = lycoris("dylora", ["lin"], 6, 3.0, block_size=2)
    tensors = save("dylora", network, algo="dylora", block_size="2")
    up, down = (tensors[f"lycoris_lin.lora_{key}.weight"] for key in ("up", "down"))
    w0 = net.lin.weight.detach()
    own = network.loras[0].get_diff_weight(rank=4)[0].detach()  # of block 2, the last: blocks 0, 1 and 2 act
    assert relative(own, 3.0 / 3 * up @ down) < 1e-6
    save_file({"lin.weight": w0 + 3.0 / 6 * up @ down, "lin.trained": w0 + own}, OUT / "dylora.expected.safetensors")


def of_peft(name, **options):
    config = peft.LoraConfig(target_modules=["lin", "conv"], r=4, lora_alpha=6, **options)
    net = peft.get_peft_model(model(), config)
    generator = torch.Generator().manual_seed(8)
    trained = {key: value for key, value in net.named_parameters() if value.requires_grad}
    randomise([value for key, value in trained.items() if "magnitude" not in key], 0.4, generator)
    with torch.no_grad():
        for key, value in trained.items():
            if "magnitude" in key:
                value.mul_(1 + 0.2 * torch.rand(value.shape, generator=generator))
    folder = OUT / name
    net.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    about = folder / "adapter_config.json"
    options = json.loads(about.read_text())
    options["target_modules"].sort()  # PEFT keeps a set
    about.write_text(json.dumps(options, indent=2) + "\n")
    merged = net.merge_and_unload().state_dict()
    save_file({key: value.contiguous() for key, value in merged.items()}, folder / "expected.safetensors")


def renamed():
    """The files of make_loras.py as others name them; LyCORIS's wrapper cannot tell two text encoders apart."""
    for name in ("sdxl", "sd"):
        tensors = [(*key.split(".", 1), value) for key, value in load_file(LORAS / f"{name}.kohya.safetensors").items()]
        comfy = {f"{COMFY[layer]}.{key}": value for layer, key, value in tensors}
        save_file(comfy, OUT / f"{name}.comfyui.safetensors")
    plain = {f"lycoris_{layer.removeprefix('lora_unet_').removeprefix('lora_te_')}.{key}": value
             for layer, key, value in tensors}
    save_file(plain, OUT / "sd.lycoris.safetensors")


def main():
    torch.set_num_threads(1)
    logger.setLevel("ERROR")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    save_file(model().state_dict(), OUT / "base.safetensors")
    glora_rs()
    dylora()
    of_peft("peft_bias", lora_bias=True, use_rslora=True)
    of_peft("peft_dora", use_dora=True)
    renamed()


if __name__ == "__main__":
    main()
