"""Pipelines of diffusers with two LoRA files on them, at strengths of their own.

Pinned: diffusers 0.42.1, transformers 5.23.0, peft 0.21.2, torch 2.11.0, numpy 2.4.6, safetensors 0.8.0.

    pip install diffusers==0.42.1 transformers==5.23.0 peft==0.21.2 torch==2.11.0 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_loras.py

Writes `diffusion/loras/` beside this file: the files, in kohya's names and as diffusers saves them, and the latents of the
pipelines of `make_diffusion.py` with the first, the second, both, and the first with strengths of its own for each part.
"""

import torch
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from make_diffusion import COMMON, OUT, tensor, tiny_pipelines

# kohya's name of a layer of each model, and its path; SDXL's UNet goes by the names of the original code.
KOHYA = {
    "sd": {
        "lora_te_text_model_encoder_layers_1_self_attn_out_proj": "text_encoder.encoder.layers.1.self_attn.out_proj",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0": (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
        ),
        "lora_unet_mid_block_attentions_0_proj_in": "unet.mid_block.attentions.0.proj_in",
        "lora_unet_mid_block_resnets_0_conv1": "unet.mid_block.resnets.0.conv1",
    },
    "sdxl": {
        "lora_te1_text_model_encoder_layers_0_self_attn_out_proj": "text_encoder.encoder.layers.0.self_attn.out_proj",
        "lora_te2_text_model_encoder_layers_0_self_attn_out_proj": "text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj",
        "lora_unet_middle_block_1_transformer_blocks_1_attn2_to_k": (
            "unet.mid_block.attentions.0.transformer_blocks.1.attn2.to_k"
        ),
        "lora_unet_middle_block_1_proj_in": "unet.mid_block.attentions.0.proj_in",
    },
}
# How strong the first file is in each part; diffusers' own weights of blocks leave their convolutions out.
PARTS = {"text_encoder": 0.3, "text_encoder_2": 0.3, "unet.down_blocks.0": 0.9, "unet.mid_block": -0.5}
TARGETS = {"unet": "up_blocks.1.attentions.0.*(to_v|ff.net.2)", "text_encoder": ".*0.*(v_proj|out_proj)"}
RANK, ALPHA = 2, 3.0


def kohya(pipe, layers):
    tensors = {}
    for name, path in layers.items():
        out, *rest = pipe.components[path.split(".")[0]].get_submodule(path.split(".", 1)[1]).weight.shape
        for side, shape in (("lora_up", (out, RANK, *(1 for _ in rest[1:]))), ("lora_down", (RANK, *rest))):
            tensors[f"{name}.{side}.weight"] = tensor(f"{name}.{side}", shape, 0.3)
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


def diffusers_file(pipe, folder):
    models = {name: pipe.components[name] for name in ("unet", "text_encoder", "text_encoder_2") if name in pipe.components}
    states = {}
    for name, model in models.items():
        targets = TARGETS["unet" if name == "unet" else "text_encoder"]
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets))
        state = get_peft_model_state_dict(model)
        states[name] = {key: tensor(f"{name}.{key}", tuple(value.shape), 0.3) for key, value in state.items()}
    layers = {f"{name}_lora_layers": state for name, state in states.items()}
    type(pipe).save_lora_weights(folder, **layers, **_collate_lora_metadata(models))
    pipe.unload_lora_weights()
    return folder / "pytorch_lora_weights.safetensors"


def set_parts(pipe):
    for component in ("unet", "text_encoder", "text_encoder_2"):
        for path, module in getattr(pipe, component, torch.nn.Identity()).named_modules():
            if isinstance(module, LoraLayer) and "kohya" in module.scaling:
                [strength] = [mu for part, mu in PARTS.items() if f"{component}.{path}".startswith(f"{part}.")]
                module.set_scale("kohya", strength)


def main():
    out = OUT / "loras"
    out.mkdir(exist_ok=True)
    latents = {}
    for name, pipe in zip(("sd", "sdxl"), tiny_pipelines()):
        # For clip_skip that script gives the encoder a name by which the loader would take it for an older one.
        vars(pipe.text_encoder).pop("text_model", None)
        first, second = out / f"{name}.kohya.safetensors", out / f"{name}.diffusers.safetensors"
        save_file(kohya(pipe, KOHYA[name]), first)
        diffusers_file(pipe, out).rename(second)
        pipe.load_lora_weights(load_file(first), adapter_name="kohya")
        pipe.load_lora_weights(str(second), adapter_name="diffusers")
        runs = {"kohya": {"kohya": 0.7}, "diffusers": {"diffusers": -0.4}, "kohya diffusers": {"kohya": 0.7, "diffusers": -0.4}}
        for run, strengths in (runs | {"parts": {"kohya": 1.0}}).items():
            pipe.set_adapters(list(strengths), list(strengths.values()))
            if run == "parts":
                set_parts(pipe)
            noise = tensor("pipeline noise", (1, 4, 8, 6))
            with torch.no_grad():
                result = pipe(latents=noise, **COMMON, guidance_scale=7.5).images
            latents[f"{name} {run}"] = result.contiguous()
    save_file(latents, out / "expected.safetensors")


if __name__ == "__main__":
    main()
