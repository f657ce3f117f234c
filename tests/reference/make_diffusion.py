"""What diffusers and transformers compute: UNets, autoencoder, text encoders, schedulers.

Pinned: diffusers 0.42.1, transformers 5.23.0, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0; for stochastic schedulers and
levels of a beta distribution torchsde 0.2.6, scipy 1.17.1 and, without what it depends on, k-diffusion 0.1.1.post1 (MIT).

    pip install diffusers==0.42.1 transformers==5.23.0 torch==2.15.0 numpy==2.4.6 safetensors==0.8.0 torchsde==0.2.6 scipy==1.17.1
    pip install --no-deps k-diffusion==0.1.1.post1
    python -B tests/reference/make_diffusion.py [unets full_unet vae clip schedulers tokenizers pipelines]

Writes the folder `diffusion/` beside this file. Weights and inputs are not stored: both sides compute them from a tensor's
name by the formula of `unit` below, exactly, so that only configurations and results are here.
"""

import importlib.util
import json
import math
import os
import random
import sys
import types
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

OUT = Path(__file__).parent / "diffusion"
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def fnv(text):
    """64-bit FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def unit(name, count):
    """`count` numbers in [-1, 1), multiples of 2^-23: the splitmix64 sequence whose seed is the hash of the name."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def tensor(name, shape, scale=math.sqrt(3.0), shift=0.0):
    """shift + scale * unit, of unit variance if nothing else is said."""
    return torch.from_numpy((shift + scale * unit(name, math.prod(shape))).astype(np.float32)).reshape(shape)


def weight(key, shape):
    """A weight of variance 1/fan-in, a norm's scale around 1, a bias around 0."""
    if len(shape) > 1:
        return tensor(key, shape, math.sqrt(3.0 / math.prod(shape[1:])))
    return tensor(key, shape, 0.3, 1.0) if key.endswith("weight") else tensor(key, shape, 0.1)


def fill(model, key=lambda name: name):
    state = model.state_dict()
    model.load_state_dict({name: weight(key(name), tuple(value.shape)) for name, value in state.items()})
    return model.eval()


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def public(model):
    """The configuration of a diffusers model, without the notes that differ from run to run."""
    config = {key: value for key, value in model.config.items() if not key.startswith("_")}
    return config | {"_class_name": type(model).__name__}


def folder(name, model, tensors):
    if hasattr(model.config, "to_json_string"):
        config = json.loads(model.config.to_json_string()) | {"architectures": [type(model).__name__]}
    else:
        config = public(model)
    write_json(OUT / name / "config.json", config)
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / name / "expected.safetensors")


# --- UNet -----------------------------------------------------------------------------------------------------------

SMALL = dict(
    sample_size=16,
    block_out_channels=(16, 32, 32),
    layers_per_block=1,
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=24,
    attention_head_dim=4,
    norm_num_groups=8,
)
SDXL = dict(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    use_linear_projection=True,
    addition_embed_type="text_time",
)
UNETS = {
    "unet_sd1": SMALL,
    "unet_sd2": SMALL | dict(use_linear_projection=True, attention_head_dim=(2, 4, 4), layers_per_block=2),
    "unet_sdxl": SMALL
    | SDXL
    | dict(
        attention_head_dim=(2, 4, 4),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        transformer_layers_per_block=(1, 2, 3),
    ),
    "unet_lcm": SMALL | dict(time_cond_proj_dim=16),
}
PUBLISHED = {
    "sd15": dict(cross_attention_dim=768, sample_size=64),
    "sd21": dict(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True, sample_size=96),
    "sdxl": SDXL
    | dict(
        block_out_channels=(320, 640, 1280),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        transformer_layers_per_block=(1, 2, 10),
        sample_size=128,
    ),
}


def unet_inputs(model, size, batch=2):
    config, name = model.config, f"{size[0]}x{size[1]}"
    inputs = dict(
        sample=tensor(f"sample {name}", (batch, config.in_channels, *size)),
        timestep=torch.tensor([981.0, 3.0])[:batch],
        encoder_hidden_states=tensor(f"context {name}", (batch, 7, config.cross_attention_dim)),
    )
    if config.addition_embed_type:
        width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = dict(
            text_embeds=tensor(f"text {name}", (batch, width)),
            time_ids=torch.tensor([[64.0, 48.0, 0.0, 4.0, 64.0, 48.0], [33.0, 100.0, 7.0, 0.0, 32.0, 96.0]])[:batch],
        )
        inputs["added_cond_kwargs"] = added
    if config.time_cond_proj_dim:
        inputs["timestep_cond"] = guidance(torch.tensor([7.5, 1.5]), config.time_cond_proj_dim)[:batch]
    return inputs


def guidance(scale, width):
    """What tells LCM's models the guidance scale, as its pipeline computes it."""
    return StableDiffusionPipeline.get_guidance_scale_embedding(None, scale - 1, embedding_dim=width)


def unets():
    for name, config in UNETS.items():
        model = fill(UNet2DConditionModel(**config))
        tensors = {}
        for size in ((16, 12), (11, 7), (1, 3)):
            with torch.no_grad():
                tensors[f"out {size[0]}x{size[1]}"] = model(**unet_inputs(model, size)).sample
        # Gradients of sum(out * probe): of the inputs, and of each parameter its norm and its product with numbers.
        inputs = unet_inputs(model, (16, 12))
        for key in ("sample", "encoder_hidden_states"):
            inputs[key].requires_grad_(True)
        out = model(**inputs).sample
        (out * tensor("probe", tuple(out.shape))).sum().backward()
        tensors["grad sample"] = inputs["sample"].grad
        tensors["grad encoder_hidden_states"] = inputs["encoder_hidden_states"].grad
        named = sorted(model.named_parameters())
        tensors["grad norms"] = torch.stack([p.grad.double().norm().float() for _, p in named])
        dots = [(p.grad.double() * tensor(f"grad {key}", tuple(p.shape)).double()).sum() for key, p in named]
        tensors["grad dots"] = torch.stack(dots).float()
        folder(name, model, tensors)

    counts = {}
    for name, config in PUBLISHED.items():
        with torch.device("meta"):
            model = UNet2DConditionModel(**config)
        table = sorted((key, list(value.shape)) for key, value in model.state_dict().items())
        counts[name] = dict(
            parameters=sum(p.numel() for p in model.parameters()),
            tensors=len(table),
            table=f"{fnv(chr(10).join(f'{key} {shape}' for key, shape in table)):016x}",
        )
        write_json(OUT / "published" / f"{name}.json", public(model))
    write_json(OUT / "published" / "counts.json", counts)


def full_unet():
    """Stable Diffusion 1.5's at its full size: some values of the output, and what a deviation is relative to."""
    model = fill(UNet2DConditionModel(**PUBLISHED["sd15"]))
    with torch.no_grad():
        out = model(**unet_inputs(model, (64, 64), batch=1)).sample.flatten()
    tensors = dict(values=out[::61], largest=out.abs().max().reshape(1), norm=out.double().norm().float().reshape(1))
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "published" / "expected.safetensors")


# --- autoencoder ----------------------------------------------------------------------------------------------------


def vae():
    model = AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=32,
    )
    fill(model)
    tensors = {}
    with torch.no_grad():
        for h, w in ((32, 24), (27, 18)):
            posterior = model.encode(tensor(f"image {h}x{w}", (2, 3, h, w), 1.0)).latent_dist
            tensors[f"mean {h}x{w}"], tensors[f"logvar {h}x{w}"] = posterior.mean, posterior.logvar
        for h, w in ((8, 6), (5, 7)):
            tensors[f"image {h}x{w}"] = model.decode(tensor(f"latents {h}x{w}", (2, 4, h, w))).sample
    folder("vae", model, tensors)

    # In tiles of 32 pixels, 8 latents: the last ones are cut, one of them to a single row of latents.
    model.enable_tiling()
    tensors = {}
    with torch.no_grad():
        for h, w in ((76, 44), (32, 52)):
            tensors[f"mean {h}x{w}"] = model.encode(tensor(f"image {h}x{w}", (1, 3, h, w), 1.0)).latent_dist.mean
        for h, w in ((13, 9), (8, 14)):
            tensors[f"image {h}x{w}"] = model.decode(tensor(f"latents {h}x{w}", (1, 4, h, w))).sample
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "vae" / "tiled.safetensors")


# --- text encoders --------------------------------------------------------------------------------------------------


def clip():
    small = dict(hidden_size=16, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, vocab_size=300)
    cases = {
        # eos_token_id 2 is what the published files of SD 1 and SDXL say: the largest id is then the end.
        "clip_quick": (CLIPTextModel, dict(hidden_act="quick_gelu", bos_token_id=0, eos_token_id=2)),
        "clip_gelu": (CLIPTextModel, dict(hidden_act="gelu", bos_token_id=298, eos_token_id=299)),
        "clip_projection": (
            CLIPTextModelWithProjection,
            dict(hidden_act="gelu", projection_dim=12, bos_token_id=298, eos_token_id=299),
        ),
    }
    ids = (np.abs(unit("ids", 2 * 77)) * 297).astype(np.int64).reshape(2, 77)
    ids[:, 0] = 298
    ids[0, 9:] = 299  # padded with the end
    ids[1, 30], ids[1, 31:] = 299, 0
    for name, (kind, options) in cases.items():
        model = kind(CLIPTextConfig(**small, **options, attn_implementation="eager"))
        fill(model, lambda key: key if key.startswith(("text_model.", "text_projection")) else f"text_model.{key}")
        with torch.no_grad():
            out = model(torch.from_numpy(ids), output_hidden_states=True)
        pooled = out.text_embeds if kind is CLIPTextModelWithProjection else out.pooler_output
        tensors = dict(
            last=out.last_hidden_state, hidden_1=out.hidden_states[1], hidden_2=out.hidden_states[2], pooled=pooled
        )
        folder(name, model, tensors)
    save_file({"ids": torch.from_numpy(ids)}, OUT / "clip_ids.safetensors")


# --- schedulers -----------------------------------------------------------------------------------------------------

SCHEDULERS = {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_2m_karras": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "lcm": diffusers.LCMScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler,
    "dpmpp_3m_sde": diffusers.DPMSolverMultistepScheduler,  # of which only the levels are taken
    "dpmpp_sde": diffusers.DPMSolverSDEScheduler,
}
EXTRA = {"dpmpp_2m_karras": dict(use_karras_sigmas=True), "dpmpp_2m_sde": dict(algorithm_type="sde-dpmsolver++")}
FREE = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde", "unipc")
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
CONFIGS = {
    # SD 1.5's own file, SD 2.1's, SDXL's, one of zero terminal SNR, one that says nothing, and variants.
    "sd15": SD
    | dict(_class_name="PNDMScheduler", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None, clip_sample=False),
    "sd21": SD
    | dict(_class_name="DDIMScheduler", clip_sample=False, prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1),
    "sdxl": SD
    | dict(
        _class_name="EulerDiscreteScheduler",
        interpolation_type="linear",
        prediction_type="epsilon",
        sample_max_value=1.0,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
        timestep_spacing="leading",
        use_karras_sigmas=False,
        clip_sample=False,
    ),
    "zero_snr": SD
    | dict(
        _class_name="DDIMScheduler",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    ),
    "silent": dict(_class_name="DDPMScheduler"),
    "variant": SD
    | dict(
        _class_name="UniPCMultistepScheduler",
        clip_sample=True,
        clip_sample_range=0.7,
        final_sigmas_type="sigma_min",
        lower_order_final=False,
        solver_order=2,
        solver_type="bh1",
        timestep_spacing="linspace",
        use_karras_sigmas=True,
    ),
    "third": SD | dict(_class_name="UniPCMultistepScheduler", solver_order=3, clip_sample=False, skip_prk_steps=True),
}


def toy(x, t):
    """A model: 0.7 tanh(x) + 0.2 t/1000 pattern."""
    return 0.7 * torch.tanh(x) + 0.2 * (float(t) / 1000) * tensor("pattern", tuple(x.shape))


class Motion:
    """A Brownian motion in the level, whose increments are drawn by name: in place of torchsde's."""

    def __init__(self, *_):
        self.last, self.drawn = None, 0

    def __call__(self, level, next_level):
        level, next_level = float(level), float(next_level)
        begin, so_far = level, 0
        if self.last and self.last[0] == level:
            _, begin, so_far = self.last
        self.drawn += 1
        so_far = so_far + tensor(f"noise {self.drawn}", (1, 2, 2, 2)) * math.sqrt(begin - next_level)
        self.last = (level, next_level, so_far)
        return so_far / math.sqrt(level - next_level)


def k_diffusion():
    """Its samplers alone, without what its other modules import."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = []
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": types.ModuleType("k_diffusion.utils")}
    package.utils = sys.modules["k_diffusion.utils"]
    sys.modules["torchdiffeq"] = types.ModuleType("torchdiffeq")
    sys.modules["torchdiffeq"].odeint = None
    [path] = [Path(folder) / "k_diffusion/sampling.py" for folder in sys.path if (Path(folder) / "k_diffusion").is_dir()]
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def third_order(scheduler, x):
    """Samples of k-diffusion's DPM++ 3M SDE, at a scheduler's levels; diffusers' own has a term of the wrong sign."""
    velocity = scheduler.config.prediction_type == "v_prediction"
    sigmas, times = scheduler.sigmas.double(), iter(scheduler.timesteps)
    a = 1 / (sigmas**2 + 1).sqrt()
    samples, motion = [], Motion()

    def model(x, sigma):
        a = 1 / (sigma**2 + 1).sqrt()
        samples.append(x * a)
        output = toy(x * a, next(times))
        return x * a**2 - output * sigma * a if velocity else x - sigma * output

    # In a step of no width, which changes nothing, it divides by 0.
    repeated = bool(sigmas[-1] == sigmas[-2])
    levels = sigmas[:-1] if repeated else sigmas
    x = k_diffusion().sample_dpmpp_3m_sde(model, x.double() / a[0], levels, noise_sampler=motion, disable=True)
    return [sample.float() for sample in [*samples, *[x * a[-1]] * (1 + repeated)]]


def passed(name, scheduler):
    """The samples of a pass."""
    x = tensor("start", (1, 2, 2, 2)) * float(scheduler.init_noise_sigma)
    if name == "dpmpp_3m_sde":
        return third_order(scheduler, x)
    if name in ("euler_a", "dpmpp_sde"):
        # sigma_down is a small difference of squares: in f32 its rounding shows (5e-5 without terminal SNR).
        scheduler.sigmas = scheduler.sigmas.double()
    drawn = 0

    def randn(shape, **_):
        nonlocal drawn
        drawn += 1
        return tensor(f"noise {drawn}", tuple(shape))

    module = sys.modules[type(scheduler).__module__]
    module.randn_tensor, module.BrownianTreeNoiseSampler = randn, Motion
    # By its time the first step is not found where the second one has the same.
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    samples = [x]
    for t in scheduler.timesteps:
        x = scheduler.step(toy(scheduler.scale_model_input(x, t), t), t, x).prev_sample
        samples.append(x)
    return samples


def schedulers():
    tensors = {}
    for case, config in CONFIGS.items():
        write_json(OUT / "schedulers" / f"{case}.json", config)
        names = [name for name in SCHEDULERS if not (case == "third" and name.startswith("dpmpp_2m"))]
        runs = [(name, name, steps, {}) for name in names for steps in (4, 7, 20)]
        if case in ("sd15", "sdxl", "zero_snr"):
            none = {f"use_{spread}_sigmas": False for spread in ("karras", "exponential", "beta")}
            for spread in ("karras", "exponential", "beta"):
                runs += [(name, f"{name}/{spread}", 7, none | {f"use_{spread}_sigmas": True}) for name in FREE]
        for name, label, steps, spread in runs:
            key, extra = f"{case} {label} {steps}", EXTRA.get(name, {}) | spread
            scheduler = SCHEDULERS[name].from_config(config, **extra)
            scheduler.set_timesteps(steps)
            tensors[f"{key} times"] = scheduler.timesteps.to(torch.float32)
            tensors[f"{key} samples"] = torch.cat(passed(name, scheduler))
            # An image with the noise of the second step.
            scheduler = SCHEDULERS[name].from_config(config, **extra)
            scheduler.set_timesteps(steps)
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(1)
            image, noise = tensor("image", (1, 2, 2, 2)), tensor("noise", (1, 2, 2, 2))
            tensors[f"{key} noised"] = scheduler.add_noise(image, noise, scheduler.timesteps[1:2])
    for rescale in (0.0, 0.7):
        shape = (2, 3, 2, 2)
        negative, positive = tensor("negative", shape), tensor("positive", shape)
        guided = negative + 7.5 * (positive - negative)
        tensors[f"guided {rescale}"] = rescale_noise_cfg(guided, positive, rescale) if rescale else guided
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "schedulers" / "expected.safetensors")


# --- tokenizer ------------------------------------------------------------------------------------------------------


def tokenizer_folder():
    """vocab.json from merges.txt, as OpenAI's CLIP numbers its tokens."""
    merges = (OUT / "tokenizer" / "merges.txt").read_text().splitlines()[1:]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), ord("\xff") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    tokens = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(merge.split()) for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    text = json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False)
    (OUT / "tokenizer" / "vocab.json").write_text(text + "\n")
    return OUT / "tokenizer"


def texts():
    """A thousand strings: prompts, scripts, emoji, signs, spaces, special tokens, long ones, none."""
    rng = random.Random(0)
    words = "a red spider lily in the rain masterpiece, best quality! photo of an astronaut's cat isn't 35mm f/1.8 (8k) don't we'll I'd they've".split()
    other = ["花の絵", "红色石蒜", "Ländliche Straße", "e\u0301te\u0301", "Ωμέγα", "привет мир", "\U0001f600\U0001f338", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "٣٤", "½", "ﬁne", "İstanbul", "ß", "한국어", "\u200b", "naïve café", "!!!", "?!.,", "<|endoftext|>", "<|startoftext|>", "<|end", "'s", "''", "1234", "a1b2", "__init__", "\\", "\x07", "\ufffd"]
    spaces = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", ""]
    found = ["", " ", "\n\t", "a" * 300, "lily " * 200, "\U0001f338" * 50, "花" * 100]
    while len(found) < 1000:
        kind = rng.random()
        if kind < 0.2:
            ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x400), (0x4E00, 0x4F00), (0x1F300, 0x1F650)]
            found.append("".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 20))))
        else:
            parts = [rng.choice(words if rng.random() < 0.75 else other) for _ in range(rng.randrange(1, 15))]
            text = "".join(part + rng.choice(spaces) for part in parts)
            found.append(text.upper() if kind < 0.3 else text)
    return found


def tokenizers():
    folder = tokenizer_folder()
    strings = texts()
    cases = {"texts": strings}
    for name, pad in (("end", "<|endoftext|>"), ("bang", "!")):
        tokenizer = CLIPTokenizer.from_pretrained(folder, pad_token=pad)
        cases[name] = [tokenizer(text, add_special_tokens=False).input_ids for text in strings]
    (OUT / "tokenizer" / "expected.json").write_text(json.dumps(cases, ensure_ascii=True) + "\n")


# --- pipelines ------------------------------------------------------------------------------------------------------

TEXT = dict(intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, vocab_size=2514)


def text_encoder(kind, name, **options):
    model = kind(CLIPTextConfig(**TEXT, **options, attn_implementation="eager"))
    fill(model, lambda key: key if key.startswith(("text_model.", "text_projection")) else f"text_model.{key}")
    config = json.loads(model.config.to_json_string()) | {"architectures": [kind.__name__]}
    write_json(OUT / name / "config.json", config)
    return model


def component(name, model):
    write_json(OUT / name / "config.json", public(model))
    return fill(model)


def tiny_pipelines():
    """SD 1's and SDXL's, with the weights of the formula; writes their configurations."""
    tokenizer = CLIPTokenizer.from_pretrained(OUT / "tokenizer", pad_token="<|endoftext|>")
    bang = CLIPTokenizer.from_pretrained(OUT / "tokenizer", pad_token="!")
    tokenizer.model_max_length = bang.model_max_length = 77
    quick = dict(hidden_size=16, hidden_act="quick_gelu", bos_token_id=0, eos_token_id=2)
    projected = dict(hidden_size=24, hidden_act="gelu", projection_dim=32, bos_token_id=2512, eos_token_id=2513)
    small_vae = dict(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        sample_size=32,
    )
    sd = StableDiffusionPipeline(
        vae=component("sd/vae", AutoencoderKL(**small_vae)),
        text_encoder=text_encoder(CLIPTextModel, "sd/text_encoder", **quick),
        tokenizer=tokenizer,
        unet=component("sd/unet", UNet2DConditionModel(**SMALL | dict(cross_attention_dim=16, sample_size=8))),
        scheduler=diffusers.PNDMScheduler.from_config(CONFIGS["sd15"]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    # clip_skip of this diffusers looks for a level of modules that this transformers no longer has.
    object.__setattr__(sd.text_encoder, "text_model", sd.text_encoder)
    unet = SMALL | SDXL | dict(
        attention_head_dim=(2, 4, 4),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
        transformer_layers_per_block=(1, 1, 2),
        cross_attention_dim=40,
        sample_size=8,
    )
    xl = StableDiffusionXLPipeline(
        vae=component("sdxl/vae", AutoencoderKL(**small_vae, scaling_factor=0.13025)),
        text_encoder=text_encoder(CLIPTextModel, "sdxl/text_encoder", **quick),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, "sdxl/text_encoder_2", **projected),
        tokenizer=tokenizer,
        tokenizer_2=bang,
        unet=component("sdxl/unet", UNet2DConditionModel(**unet)),
        scheduler=diffusers.EulerDiscreteScheduler.from_config(CONFIGS["sdxl"]),
        add_watermarker=False,
    )
    for pipe in (sd, xl):
        pipe.set_progress_bar_config(disable=True)
    return sd, xl


COMMON = dict(
    prompt="a red spider lily in the rain, best quality", num_inference_steps=6, height=32, width=24, output_type="latent"
)


def pipelines():
    sd, xl = tiny_pipelines()
    latents = tensor("pipeline noise", (1, 4, 8, 6))
    for name, pipe, config in (("sd", sd, "sd15"), ("sdxl", xl, "sdxl")):
        index = {key: list(value) if isinstance(value, tuple) else value for key, value in pipe.config.items()}
        write_json(OUT / name / "model_index.json", index | {"_class_name": type(pipe).__name__})
        write_json(OUT / name / "scheduler" / "scheduler_config.json", CONFIGS[config])
        cases = {
            "own": dict(negative_prompt="blurry"),
            "ddim": dict(negative_prompt="blurry"),
            "dpmpp_2m_karras": dict(guidance_rescale=0.7),
            "unipc": dict(clip_skip=1),
            "euler": dict(guidance_scale=1.0),
        }
        if name == "sd":
            cases |= {case: {} for case in ("ddpm", "pndm", "euler_a", "dpmpp_2m", "lcm", "heun", "dpmpp_2m_sde")}
        tensors = {}
        for case, options in cases.items():
            if case != "own":
                pipe.scheduler = SCHEDULERS[case].from_config(CONFIGS[config], **EXTRA.get(case, {}))
            draw_by_name(pipe.scheduler)
            with torch.no_grad():
                out = pipe(latents=latents.clone(), **COMMON | dict(guidance_scale=7.5) | options).images
                tensors[f"{case} latents"] = out
                if case == "own":
                    tensors["image"] = pipe.vae.decode(out / pipe.vae.config.scaling_factor).sample
                    pixels = pipe.image_processor.postprocess(tensors["image"], output_type="np")
                    tensors["pixels"] = torch.from_numpy((pixels * 255).round().astype(np.uint8))
        save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / name / "expected.safetensors")
    prompts(sd)
    more_pipelines(sd)


def prompts(sd):
    """What the web UI does with prompts that change, are joined by AND or broken, over the calls of DDIM."""
    sd.scheduler = SCHEDULERS["ddim"].from_config(CONFIGS["sd15"])

    def encoded(chunks, skip=0):
        """Chunks of pairs of a text and its weight."""
        found = []
        for pieces in chunks:
            ids = [sd.tokenizer(text, add_special_tokens=False).input_ids for text, _ in pieces]
            weights = [weight for (_, weight), of in zip(pieces, ids) for _ in of]
            ids = [sd.tokenizer.bos_token_id, *sum(ids, []), sd.tokenizer.eos_token_id]
            padding = 77 - len(ids)
            out = sd.text_encoder(torch.tensor([ids + [sd.tokenizer.pad_token_id] * padding]), output_hidden_states=True)
            hidden = out.last_hidden_state
            if skip:
                hidden = sd.text_encoder.final_layer_norm(out.hidden_states[-1 - skip])
            weighted = hidden * torch.tensor([1.0, *weights, 1.0, *[1.0] * padding])[:, None]
            found.append(weighted * (hidden.mean() / weighted.mean()))
        return torch.cat(found, 1)

    def plain(text, skip=0):
        return encoded([[(text, 1.0)]], skip)

    def latents(negative, *parts):
        """Of each a function of the call, counted from 0, that says its text; of the parts with their weights."""
        x = tensor("pipeline noise", (1, 4, 8, 6))
        sd.scheduler.set_timesteps(6)
        for call, t in enumerate(sd.scheduler.timesteps):
            base = sd.unet(x, t, negative(call)).sample
            noise = base + 7.5 * sum(weight * (sd.unet(x, t, text(call)).sample - base) for text, weight in parts)
            x = sd.scheduler.step(noise, t, x).prev_sample
        return x

    def until(last, before, after):
        return lambda call: plain(before if call <= last else after)

    def turns(*texts):
        return lambda call: plain(texts[max(call - 1, 0) % len(texts)])

    def always(text, skip=0):
        return lambda call: plain(text, skip)

    broken = encoded([[("a red lily", 1.0)], [("rain", 1.3)]])
    negative_broken = encoded([[("blurry", 1.0)], [("dark", 1.0)]])
    with torch.no_grad():
        tensors = {
            "switch": latents(always("blurry"), (until(3, "a red lily", "a blue lily"), 1)),
            "turns": latents(turns("dark", "bright"), (turns("a red lily", "a blue lily", "a green lily"), 1)),
            "and": latents(
                always("blurry"),
                (always("a red lily"), 1.3),
                (always("rain"), -0.4),
                (until(2, "best quality", "worst quality"), 1),
            ),
            "break": latents(lambda _: negative_broken, (lambda _: broken, 1)),
            "skip one": latents(always("blurry"), (always("a red lily", 1), 1)),
            "skip both": latents(always("blurry", 1), (always("a red lily", 1), 1)),
        }
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "sd" / "prompts.safetensors")


def draw_by_name(scheduler):
    """The noise of a scheduler's steps, `pipeline noise 1` and so on."""
    drawn = 0

    def randn(shape, **_):
        nonlocal drawn
        drawn += 1
        return tensor(f"pipeline noise {drawn}", tuple(shape))

    sys.modules[type(scheduler).__module__].randn_tensor = randn


def more_pipelines(sd):
    """An image taken up again, from the mean of its latents; and a model of LCM's, which is told the guidance scale."""
    pipe = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    noise = tensor("pipeline noise", (1, 4, 8, 6))
    sys.modules[type(pipe).__module__].randn_tensor = lambda shape, **_: noise
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
    pixels = np.floor((unit("picture", 32 * 24 * 3) + 1) * 128).astype(np.uint8).reshape(32, 24, 3)
    options = dict(prompt=COMMON["prompt"], image=Image.fromarray(pixels), num_inference_steps=6, output_type="latent")
    tensors = {}
    for case in ("pndm", "ddim", "euler", "heun"):
        pipe.scheduler = SCHEDULERS[case].from_config(CONFIGS["sd15"])
        with torch.no_grad():
            tensors[f"{case} latents"] = pipe(**options, strength=0.5).images
    (OUT / "img2img").mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / "img2img" / "expected.safetensors")

    unet = UNet2DConditionModel(**SMALL | dict(cross_attention_dim=16, sample_size=8, time_cond_proj_dim=16))
    sd.unet = component("lcm/unet", unet)
    sd.scheduler = SCHEDULERS["lcm"].from_config(CONFIGS["sd15"])
    draw_by_name(sd.scheduler)
    with torch.no_grad():
        latents = sd(latents=noise.clone(), **COMMON | dict(num_inference_steps=4, guidance_scale=8.0)).images
    save_file({"latents": latents}, OUT / "lcm" / "expected.safetensors")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    parts = (unets, full_unet, vae, clip, schedulers, tokenizers, pipelines)
    for part in parts:
        if part.__name__ in (sys.argv[1:] or [part.__name__]):
            part()
