"""Embeddings (textual inversion) in pipelines of diffusers, and their training.

Pinned: diffusers 0.42.1, transformers 5.23.0, torch 2.11.0 (CPU), numpy 2.4.6, safetensors 0.8.0.

    pip install diffusers==0.42.1 transformers==5.23.0 torch==2.11.0 numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_embeddings.py

Writes `diffusion/embeddings/` beside this file: embedding files in the forms of the web UI (`lilium.pt`, and `pluvia.safetensors`
for SDXL) and of diffusers (`learned_embeds.bin`, `.safetensors`), and `expected.safetensors`: what the pipelines of
`make_diffusion.py` make of prompts with these tokens. `training.safetensors` is the training of a token of two vectors on the
models of `sd/`, by the procedure of diffusers' `textual_inversion.py`: the loss of the first step, the gradient of the two rows
of the table, and the rows after ten steps of AdamW.
"""

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from make_diffusion import OUT, tensor, tiny_pipelines

HERE = OUT / "embeddings"
PROMPTS = ["a photo of lilium in the rain", "lilium, a <cat-toy>, best quality"]
XL_PROMPT = "a red spider lily, pluvia and rain"


def files():
    lilium, cat = tensor("lilium", (2, 16)), tensor("<cat-toy>", (16,))
    web_ui = {"string_to_token": {"*": 265}, "string_to_param": {"*": lilium}, "name": "lilium", "step": 100}
    torch.save(web_ui | {"sd_checkpoint": None, "sd_checkpoint_name": None}, HERE / "lilium.pt")
    torch.save({"<cat-toy>": cat}, HERE / "learned_embeds.bin")
    save_file({"<cat-toy>": cat}, HERE / "learned_embeds.safetensors", metadata={"format": "pt"})
    save_file({"clip_l": tensor("pluvia l", (2, 16)), "clip_g": tensor("pluvia g", (2, 24))}, HERE / "pluvia.safetensors")


def prompts(sd, xl):
    expected = {}
    sd.load_textual_inversion(str(HERE / "lilium.pt"))
    sd.load_textual_inversion(str(HERE / "learned_embeds.safetensors"))
    for prompt in PROMPTS:
        expected[prompt] = sd.encode_prompt(prompt, "cpu", 1, False)[0]
    state = load_file(HERE / "pluvia.safetensors")
    xl.load_textual_inversion(state["clip_l"], token="pluvia", text_encoder=xl.text_encoder, tokenizer=xl.tokenizer)
    xl.load_textual_inversion(state["clip_g"], token="pluvia", text_encoder=xl.text_encoder_2, tokenizer=xl.tokenizer_2)
    context, _, pooled, _ = xl.encode_prompt(XL_PROMPT, device="cpu", do_classifier_free_guidance=False)
    expected |= {f"{XL_PROMPT} context": context, f"{XL_PROMPT} pooled": pooled}
    save_file({key: value.detach().contiguous() for key, value in expected.items()}, HERE / "expected.safetensors")


def training(sd):
    """As in `textual_inversion.py`: all of the table is given to the optimizer, and put back but for the new rows."""
    tokens = ["lilium", "lilium_1"]
    start = sd.tokenizer("a red", add_special_tokens=False).input_ids
    sd.tokenizer.add_tokens(tokens)
    sd.text_encoder.resize_token_embeddings(len(sd.tokenizer), mean_resizing=False)
    rows = sd.tokenizer.convert_tokens_to_ids(tokens)
    sd.unet.requires_grad_(False)
    sd.text_encoder.requires_grad_(False)
    table = sd.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    with torch.no_grad():
        table[rows] = table[start].clone()
    before = table.detach().clone()
    captions = [sd.maybe_convert_prompt(text, sd.tokenizer) for text in ("a lilium in the rain", "lilium, best quality, lilium")]
    ids = sd.tokenizer(captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    noise = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    z, n, times = tensor("training latents", (2, 4, 8, 8)), tensor("training noise", (2, 4, 8, 8)), torch.tensor([981, 3])
    noisy = noise.add_noise(z, n, times)
    optimizer = torch.optim.AdamW([table], lr=1e-2, weight_decay=0.01)
    others = torch.ones(len(table), dtype=torch.bool)
    others[rows] = False
    out = {}
    for step in range(10):
        context = sd.text_encoder(ids)[0]
        loss = F.mse_loss(sd.unet(noisy, times, encoder_hidden_states=context).sample, n)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out |= {"loss": loss.detach().reshape(1), "gradient": table.grad[rows].clone()}
        optimizer.step()
        with torch.no_grad():
            table[others] = before[others]
    save_file(out | {"after": table.detach()[rows].clone()}, HERE / "training.safetensors")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    files()
    prompts(*tiny_pipelines())
    training(tiny_pipelines()[0])
