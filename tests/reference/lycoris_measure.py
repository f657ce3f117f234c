"""The weight and bias that a layer acts with, read off its forward pass with one-hot inputs."""

from itertools import product
from math import ceil

import torch
import torch.nn.functional as F
from torch import nn

REPRODUCES = 1e-6  # a measured weight must give the layer's own output


def relative(a, b):
    """||a - b|| / ||b||, Frobenius."""
    return ((a - b).norm() / b.norm()).item()


def measure_linear(layer):
    bias = layer(torch.zeros(1, layer.in_features))[0]
    return (layer(torch.eye(layer.in_features)) - bias).T, bias


def measure_conv(layer):
    """Impulses over the window of the first output position that padding does not reach."""
    geometry = list(zip(layer.kernel_size, layer.stride, layer.padding, layer.dilation))
    at = [ceil(p / s) for _, s, p, _ in geometry]
    start = [o * s - p for o, (_, s, p, _) in zip(at, geometry)]
    size = [b + d * (k - 1) + 1 for b, (k, _, _, d) in zip(start, geometry)]
    taps = list(product(*(range(k) for k in layer.kernel_size)))

    channels = layer.in_channels
    x = torch.zeros(channels, len(taps), channels, *size)
    for c, (t, tap) in product(range(channels), enumerate(taps)):
        x[(c, t, c, *(b + d * i for b, (_, _, _, d), i in zip(start, geometry, tap)))] = 1
    here = (slice(None), slice(None), *at)
    bias = layer(torch.zeros(1, channels, *size))[here][0]
    y = layer(x.flatten(0, 1))[here] - bias
    dense = y.reshape(channels, len(taps), -1).permute(2, 0, 1).reshape(-1, channels, *layer.kernel_size)
    blocks = [rows.chunk(layer.groups, 1)[g] for g, rows in enumerate(dense.chunk(layer.groups, 0))]
    return torch.cat(blocks), bias


def measure_norm(layer):
    """A constant input has no deviation and gives the bias; +-1 gives the weight."""
    if isinstance(layer, nn.LayerNorm):
        x = torch.tensor([1.0, -1.0]).repeat(layer.normalized_shape[0] // 2)[None]
        unit = F.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    else:
        x = torch.tensor([1.0, -1.0]).expand(1, layer.num_channels, 2)
        unit = F.group_norm(x, layer.num_groups, eps=layer.eps)
    bias = layer(torch.zeros_like(x))
    weight = (layer(x) - bias) / unit
    flat = (lambda t: t[0]) if isinstance(layer, nn.LayerNorm) else (lambda t: t[0, :, 0])
    return flat(weight), flat(bias)


@torch.no_grad()
def measure(layer):
    """(weight, bias) that `layer` acts with now; proved on a random input with the layer's own stride and padding."""
    if isinstance(layer, nn.Linear):
        x, (weight, bias) = torch.randn(7, layer.in_features), measure_linear(layer)
        y = F.linear(x, weight, bias)
    elif isinstance(layer, nn.LayerNorm):
        x, (weight, bias) = torch.randn(7, *layer.normalized_shape), measure_norm(layer)
        y = F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)
    elif isinstance(layer, nn.GroupNorm):
        x, (weight, bias) = torch.randn(3, layer.num_channels, 5), measure_norm(layer)
        y = F.group_norm(x, layer.num_groups, weight, bias, layer.eps)
    else:
        rank = len(layer.kernel_size)
        op = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        x, (weight, bias) = torch.randn(2, layer.in_channels, *[9] * rank), measure_conv(layer)
        y = op(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    error = relative(layer(x), y)
    assert error < REPRODUCES, f"the measured weight of {layer} misses its output by {error:.1e}"
    return weight.contiguous(), bias.contiguous()
