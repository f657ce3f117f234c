"""Higanbana beside PyTorch and diffusers, on this machine, in this run: one table of ratios.

    pip install diffusers==0.42.1 torch
    python benches/diffusion_torch.py [FILTER] [--rounds N] [--forward]

Starts `benches/diffusion.rs` and takes turns with it: each round times one run there and one here, of the same work in f32 on as
many threads as there are processors. Given are the least wall times of all rounds and the least CPU times, all threads together.
(A processor that others use too makes both longer; PyTorch's threads also spin while they wait, which counts as CPU time.)
"""

import argparse
import gc
import json
import os
import subprocess
import time
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel

ROOT = Path(__file__).parent.parent


def conv(name):
    """`conv3x3 320-640 @64 /1`"""
    kernel, channels, size, stride = name.split()
    kernel, stride, size = int(kernel[4]), int(stride[1:]), int(size[1:])
    inputs, outputs = map(int, channels.split("-"))
    weight = torch.randn(outputs, inputs, kernel, kernel, requires_grad=True)
    return (1, inputs, size, size), lambda x: F.conv2d(x, weight, None, stride, kernel // 2)


def attention(name):
    """`attention 4096-77 width 320`"""
    _, lengths, _, width = name.split()
    n, m = map(int, lengths.split("-"))
    keys = torch.randn(1, m, int(width), requires_grad=True) if n != m else None

    def forward(q):
        heads = lambda x: x.unflatten(2, (8, -1)).transpose(1, 2)
        k = heads(q if keys is None else keys)
        return F.scaled_dot_product_attention(heads(q), k, k).transpose(1, 2).flatten(2)

    return (1, n, int(width)), forward


def group_norm(name):
    norm = torch.nn.GroupNorm(32, 320)
    return (1, 320, 64, 64), (lambda x: F.silu(norm(x))) if "silu" in name else norm


def resnet(name):
    channels, size = name.split()[1:]
    inputs, outputs = map(int, channels.split("-"))
    block = ResnetBlock2D(in_channels=inputs, out_channels=outputs, temb_channels=1280, eps=1e-5)
    time = torch.randn(1, 1280)
    return (1, inputs, int(size[1:]), int(size[1:])), lambda x: block(x, time)


def transformer(name):
    width, size = int(name.split()[1]), int(name.split("@")[1])
    block = Transformer2DModel(8, width // 8, width, num_layers=1, cross_attention_dim=768)
    text = torch.randn(1, 77, 768)
    return (1, width, size, size), lambda x: block(x, encoder_hidden_states=text).sample


def geglu(_):
    def forward(x):
        hidden, gate = x.chunk(2, -1)
        return hidden * F.gelu(gate)

    return (1, 4096, 2560), forward


def layer(module, *shape):
    return lambda _: (shape, module())


def unet(_):
    config = json.loads((ROOT / "tests/reference/diffusion/published/sd15.json").read_text())
    # Without the initial values, which take longer than the rest.
    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(config)
    model = model.to_empty(device="cpu").requires_grad_(False)
    for parameter in model.parameters():
        parameter.uniform_(-0.01, 0.01)
    text, t = torch.randn(1, 77, 768), torch.tensor([500.0])
    return (1, 4, 64, 64), lambda x: model(x, t, text).sample


KINDS = {
    "conv": conv,
    "attention": attention,
    "geglu": geglu,
    "group norm": group_norm,
    "layer norm": layer(lambda: torch.nn.LayerNorm(320), 1, 4096, 320),
    "linear": layer(lambda: torch.nn.Linear(320, 2560), 1, 4096, 320),
    "resnet": resnet,
    "transformer": transformer,
    "unet": unet,
}


class Ours:
    """The program that was built, as a child."""

    def __init__(self):
        build = ["cargo", "bench", "-q", "-p", "higanbana", "--bench", "diffusion", "--no-run", "--message-format=json"]
        lines = subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
        program = next(m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == "diffusion")
        self.child = subprocess.Popen([program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = self.child.stdout.readline().strip().split("|")

    def cpu(self):
        """User and system time, of all threads."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self, name, step, count):
        cpu, wall = self.cpu(), []
        for _ in range(count):
            self.child.stdin.write(f"{name} step\n" if step else f"{name}\n")
            self.child.stdin.flush()
            wall.append(float(self.child.stdout.readline()))
        return min(wall), (self.cpu() - cpu) / count


class Torch:
    def __init__(self, name, step):
        kind = next(kind for kind in KINDS if name.startswith(kind))
        shape, self.forward = KINDS[kind](name)
        self.x, self.step = torch.randn(shape, requires_grad=step), step

    def once(self):
        with torch.set_grad_enabled(self.step):
            y = self.forward(self.x)
            if self.step:
                y.sum().backward()

    def run(self, count):
        cpu, wall = time.process_time(), []
        for _ in range(count):
            start = time.perf_counter()
            self.once()
            wall.append(time.perf_counter() - start)
        return min(wall), (time.process_time() - cpu) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forward", action="store_true", help="leave the training steps out")
    arguments = parser.parse_args()
    ours = Ours()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; milliseconds")
    print(f"{'':40} {'wall':>9} {'torch':>9} {'ratio':>6}   {'CPU':>9} {'torch':>9} {'ratio':>6}")
    for name in filter(lambda name: arguments.filter in name, ours.names):
        for step in (False, True)[: 1 if arguments.forward else 2]:
            torch.manual_seed(0)
            theirs = Torch(name, step)
            ours.run(name, step, 1)
            wall, cpu = theirs.run(1)
            # So many at a time that the clock of CPU time, a hundredth of a second, can tell.
            count = max(1, round(0.3 / max(cpu, 1e-3)))
            best = [[float("inf")] * 2 for _ in range(2)]
            for _ in range(arguments.rounds):
                for least, measured in zip(best, (ours.run(name, step, count), theirs.run(count))):
                    least[:] = map(min, least, measured)
            (wall, cpu), (their_wall, their_cpu) = best
            label = f"{name} {'step' if step else 'forward'}"
            print(
                f"{label:40} {wall * 1e3:9.1f} {their_wall * 1e3:9.1f} {wall / their_wall:6.2f}"
                f"   {cpu * 1e3:9.1f} {their_cpu * 1e3:9.1f} {cpu / max(their_cpu, 1e-9):6.2f}",
                flush=True,
            )
            del theirs
            gc.collect()


if __name__ == "__main__":
    main()
