"""The base model and the table of cases of make_lycoris.py."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

LINEARS = ["lin", "blocks.0.to_q", "blocks.0.to_out.0", "mid_block.ff_net"]
POINTWISE = ["proj_in"]
KERNELS = ["temporal.conv", "down_blocks.0.conv", "conv_3d", "mid_block.grouped", "mid_block.dilated"]
CONVS = POINTWISE + KERNELS
NORMS = ["norm_out", "blocks.0.group_norm"]
LAYERS = LINEARS + CONVS + NORMS

SQUARE, GROUPED = "blocks.0.to_out.0", "mid_block.grouped"
EVERY = LINEARS + CONVS
FEW = ["lin", SQUARE, "proj_in", "down_blocks.0.conv"]


def without(layers, *names):
    return [layer for layer in layers if layer not in names]


def base_model():
    """Names with underscores and digits, so that a flattened name cannot be split back."""
    model = nn.Module()
    model.lin = nn.Linear(20, 24)
    model.blocks = nn.ModuleList([nn.ModuleDict({
        "to_q": nn.Linear(20, 24, bias=False),
        "to_out": nn.Sequential(nn.Linear(36, 36)),
        "group_norm": nn.GroupNorm(3, 12),
    })])
    model.temporal = nn.ModuleDict({"conv": nn.Conv1d(6, 12, 3, padding=1)})
    model.down_blocks = nn.ModuleList([nn.ModuleDict({"conv": nn.Conv2d(8, 12, 3, stride=2, padding=1)})])
    model.mid_block = nn.ModuleDict({
        "ff_net": nn.Linear(24, 12),
        "grouped": nn.Conv2d(8, 12, 3, padding=1, groups=2),
        "dilated": nn.Conv2d(8, 12, (3, 2), padding=2, dilation=2, bias=False),
    })
    model.proj_in = nn.Conv2d(8, 24, 1)
    model.conv_3d = nn.Conv3d(4, 12, (2, 1, 3), padding=(1, 0, 1))
    model.norm_out = nn.LayerNorm(24)
    generator = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            gain = "norm" in name and name.endswith("weight")
            tensor.copy_(1 + 0.2 * noise if gain else 0.2 * noise)
    return model


@dataclass
class Case:
    name: str
    algorithm: str
    layers: list[str]
    options: dict[str, Any]  # of create_lycoris
    module_options: dict[str, Any] = field(default_factory=dict)  # of the module's constructor, through name_algo_map
    dtype: str = "f32"
    strengths: list[float] = field(default_factory=lambda: [1, 0.6])
    masks: dict[int, float] = field(default_factory=dict)  # active ranks: a timestep of 1000 that leaves so many
    base_file: bool = False  # T-LoRA: the frozen start cannot be found again from the base weight
    constraint_active: bool | None = None

    @property
    def wrapper_algo(self):
        # A norm rides along with any algorithm under train_norm.
        return "lora" if self.algorithm == "norm" else self.algorithm.removesuffix("+dora")

    def layer_of(self, lora_name):
        return next(name for name in self.layers if "lycoris_" + name.replace(".", "_") == lora_name)


RANKS = {"linear_dim": 4, "linear_alpha": 2.0, "conv_dim": 3, "conv_alpha": 1.2}
ODD_ALPHA = {"linear_alpha": 2.3, "conv_alpha": 1.3}  # not 16-bit numbers
KRON = {"linear_dim": 4, "linear_alpha": 3.0, "conv_dim": 2, "conv_alpha": 1.5, "factor": 2}
THIN = {"linear_dim": 2, "linear_alpha": 3.0, "conv_dim": 1, "conv_alpha": 1.5, "factor": -1}
UNBALANCED = KRON | {"unbalanced_factorization": True, "conv_dim": 1}
OUT_AXIS, IN_AXIS = {"dora_wd": True, "wd_on_output": True}, {"dora_wd": True, "wd_on_output": False}
BOTH, TUCKER, SCALAR = {"decompose_both": True}, {"use_tucker": True}, {"use_scalar": True}
BLOCKS = {"linear_dim": 4, "conv_dim": 4}
BUTTERFLY = {"linear_dim": 6, "conv_dim": 6}  # 24 = 6 * 4 (three stages), 12 = 6 * 2 (two); 36 has no such split
TIMED = {"linear_dim": 4, "linear_alpha": 3.0}
AT_FULL = {"strengths": [1]}
BUTTERFLIES = without(EVERY, SQUARE)
FEW_BUTTERFLIES = without(FEW, SQUARE)

CASES = [
    Case("lora", "lora", EVERY, RANKS),
    Case("lora_tucker", "lora", KERNELS, RANKS | TUCKER),
    Case("lora_scalar", "lora", FEW, RANKS | SCALAR),
    Case("lora_rs", "lora", FEW, RANKS, {"rs_lora": True}),
    Case("lora_f16", "lora", FEW, RANKS | ODD_ALPHA, dtype="f16", **AT_FULL),
    Case("lora_bf16", "lora", FEW, RANKS | ODD_ALPHA, dtype="bf16", **AT_FULL),
    Case("lora_dora_out", "lora+dora", EVERY, RANKS | OUT_AXIS, **AT_FULL),
    Case("lora_dora_in", "lora+dora", EVERY, RANKS | IN_AXIS, **AT_FULL),
    Case("lora_tucker_dora_out", "lora+dora", KERNELS, RANKS | TUCKER | OUT_AXIS, **AT_FULL),
    Case("lora_tucker_dora_in", "lora+dora", KERNELS, RANKS | TUCKER | IN_AXIS, **AT_FULL),
    Case("loha", "loha", EVERY, RANKS),
    Case("loha_tucker", "loha", KERNELS, RANKS | TUCKER),
    Case("loha_scalar", "loha", FEW, RANKS | SCALAR),
    Case("loha_rs", "loha", FEW, RANKS, {"rs_lora": True}),
    Case("loha_dora_out", "loha+dora", EVERY, RANKS | OUT_AXIS, **AT_FULL),
    Case("loha_dora_in", "loha+dora", EVERY, RANKS | IN_AXIS, **AT_FULL),
    Case("loha_tucker_dora_out", "loha+dora", KERNELS, RANKS | TUCKER | OUT_AXIS, **AT_FULL),
    Case("lokr", "lokr", EVERY, KRON),
    Case("lokr_decompose_both", "lokr", EVERY, THIN | BOTH),
    Case("lokr_full_matrix", "lokr", EVERY, KRON | {"full_matrix": True}),
    Case("lokr_unbalanced", "lokr", EVERY, UNBALANCED),
    Case("lokr_unbalanced_both", "lokr", LINEARS, UNBALANCED | BOTH),
    # 24 = 12 * 2 and 20 = 2 * 10 with rank 5: w1 [12, 2] is factored, w2 [2, 10] is plain.
    Case("lokr_only_w1_factored", "lokr", ["lin", "blocks.0.to_q"], UNBALANCED | BOTH | {"linear_dim": 5}),
    Case("lokr_tucker", "lokr", KERNELS, KRON | TUCKER),
    Case("lokr_scalar", "lokr", FEW, THIN | BOTH | SCALAR),
    Case("lokr_rs", "lokr", FEW, KRON, {"rs_lora": True}),
    # Ranks that are no squares: of 3 the file has alpha 3√3, which nothing else is.
    Case("lokr_full_matrix_rs", "lokr", FEW, KRON | {"linear_dim": 3, "full_matrix": True}, {"rs_lora": True}),
    Case("lokr_factor_4", "lokr", FEW, THIN | {"factor": 4}),
    Case("lokr_factor_auto", "lokr", FEW, THIN),
    Case("lokr_f16", "lokr", FEW, KRON | ODD_ALPHA, dtype="f16", **AT_FULL),
    Case("lokr_bf16", "lokr", FEW, KRON | ODD_ALPHA, dtype="bf16", **AT_FULL),
    Case("lokr_dora_out", "lokr+dora", EVERY, KRON | OUT_AXIS, **AT_FULL),
    Case("lokr_dora_in", "lokr+dora", EVERY, KRON | IN_AXIS, **AT_FULL),
    Case("lokr_unbalanced_dora_out", "lokr+dora", FEW, UNBALANCED | OUT_AXIS, **AT_FULL),
    Case("lokr_tucker_dora_out", "lokr+dora", KERNELS, KRON | TUCKER | OUT_AXIS, **AT_FULL),
    Case("ia3_output", "ia3", EVERY, {}),
    # On the input of a grouped convolution LyCORIS's vector has in_channels entries, the weight in_channels / groups.
    Case("ia3_input", "ia3", without(EVERY, GROUPED), {}, {"train_on_input": True}, dtype="native"),
    # GLoRA builds its factors for groups = 1.
    Case("glora", "glora", without(EVERY, GROUPED), RANKS | {"linear_alpha": 2, "conv_alpha": 1.0}, dtype="native"),
    Case("glora_scalar", "glora", FEW, RANKS | SCALAR),
    Case("dylora", "dylora", EVERY, {"linear_dim": 6, "linear_alpha": 3.0, "conv_dim": 6, "conv_alpha": 1.5,
                                     "block_size": 2}, **AT_FULL),
    Case("diag_oft", "diag-oft", EVERY, BLOCKS),
    Case("diag_oft_constraint_active", "diag-oft", FEW, BLOCKS | {"constraint": 0.03}, constraint_active=True),
    Case("diag_oft_constraint_inactive", "diag-oft", FEW, BLOCKS | {"constraint": 1.0}, constraint_active=False),
    Case("diag_oft_rescaled", "diag-oft", EVERY, BLOCKS | {"rescaled": True}, **AT_FULL),
    Case("boft", "boft", BUTTERFLIES, BUTTERFLY),
    Case("boft_constraint_active", "boft", FEW_BUTTERFLIES, BUTTERFLY | {"constraint": 0.03}, constraint_active=True),
    Case("boft_constraint_inactive", "boft", FEW_BUTTERFLIES, BUTTERFLY | {"constraint": 1.0}, constraint_active=False),
    Case("boft_rescaled", "boft", BUTTERFLIES, BUTTERFLY | {"rescaled": True}, **AT_FULL),
    # LyCORIS supports 1x1 convolutions only.
    Case("tlora_principal", "tlora", LINEARS + POINTWISE, TIMED, {"sig_type": "principal"}, masks={2: 500}),
    Case("tlora_last", "tlora", LINEARS + POINTWISE, TIMED, {"sig_type": "last"}, masks={2: 500}, base_file=True),
    Case("tlora_middle", "tlora", LINEARS + POINTWISE, TIMED, {"sig_type": "middle"}, masks={2: 500}, base_file=True),
    Case("tlora_random", "tlora", LINEARS + POINTWISE, TIMED, {"sig_type": "principal", "use_data_init": False},
         masks={2: 500}, base_file=True),
    Case("full", "full", EVERY, {}),
    Case("norm", "norm", NORMS, {"train_norm": True}),
]
