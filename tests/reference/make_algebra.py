"""Golden values of the tensor algebra, computed in f64.

Pinned: numpy 2.4.6, safetensors 0.8.0.

    pip install numpy==2.4.6 safetensors==0.8.0
    python -B tests/reference/make_algebra.py

Writes `algebra.safetensors` beside this file; two runs give the same bytes. Every value is computed from its
definition, by explicit sums or by numpy's LAPACK, and never by the rearrangement that the Rust code uses.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from itertools import product
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "algebra.safetensors"
rng = np.random.default_rng(20)


def kron():
    """C[i*p + k, j*q + l] = A[i, j] B[k, l]."""
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((5, 2))
    c = np.empty((15, 8))
    for i, j, k, l in product(*map(range, (3, 4, 5, 2))):
        c[i * 5 + k, j * 2 + l] = a[i, j] * b[k, l]
    return {"a": a, "b": b, "product": c}


def tucker():
    """W[o, i, k] = sum_pq core[p, q, k] up[o, p] down[q, i], also for a 3x2 kernel."""
    up, down = rng.standard_normal((6, 3)), rng.standard_normal((3, 5))
    values = {"up": up, "down": down}
    for name, kernel in (("1d", (4,)), ("2d", (3, 2))):
        core = rng.standard_normal((3, 3, *kernel))
        weight = np.zeros((6, 5, *kernel))
        for o, i, p, q in product(*map(range, (6, 5, 3, 3))):
            weight[o, i] += core[p, q] * up[o, p] * down[q, i]
        values |= {f"core_{name}": core, f"weight_{name}": weight}
    return values


def cayley():
    """R = (I + Q)(I - Q)^-1 per block, Q = B - B^T."""
    blocks = 0.5 * rng.standard_normal((4, 6, 6))
    skew = blocks - blocks.transpose(0, 2, 1)
    eye = np.eye(6)
    rotation = np.stack([(eye + q) @ np.linalg.inv(eye - q) for q in skew])
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), eye, rtol=0, atol=1e-13)
    return {"blocks": blocks, "rotation": rotation}


def spectrum():
    """Singular values and what is made of them, for a matrix with a decaying spectrum."""
    left, _ = np.linalg.qr(rng.standard_normal((12, 8)))
    right, _ = np.linalg.qr(rng.standard_normal((8, 8)))
    matrix = (left * 2.0 ** -np.arange(8)) @ right.T
    sigma = np.linalg.svd(matrix, compute_uv=False)
    share = sigma / sigma.sum()
    errors = [np.linalg.norm(matrix - low_rank(matrix, r)) for r in range(8)]
    return {
        "matrix": matrix,
        "singular_values": sigma,
        "stable_rank": np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2,
        "effective_rank": np.exp(-(share * np.log(share)).sum()),
        "approximation_errors": np.array(errors),  # Frobenius, of the best approximation of rank 0, 1, .. 7
    }


def low_rank(matrix, rank):
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


def nearest_kronecker():
    """Frobenius error of the best sum of t products A[3, 2] (x) B[4, 5] (Van Loan and Pitsianis).

    The rearranged matrix has the block (i, j) of W, read row by row, as its row i*2 + j.
    """
    matrix = rng.standard_normal((12, 10))
    rows = [matrix[i * 4:(i + 1) * 4, j * 5:(j + 1) * 5].ravel() for i, j in product(range(3), range(2))]
    u, s, vh = np.linalg.svd(np.array(rows), full_matrices=False)
    values = {"matrix": matrix}
    for terms in (1, 3):
        sums = [np.kron(s[t] * u[:, t].reshape(3, 2), vh[t].reshape(4, 5)) for t in range(terms)]
        values[f"nearest_{terms}"] = sum(sums)
        values[f"error_{terms}"] = np.linalg.norm(matrix - sum(sums))
    return values


def dora():
    """Norms over all but the first axis (output) and all but the second (input), of a convolution's weight.

    `weight_out` and `weight_in` are W * m / (norm + eps) with eps = 2^-52, the machine epsilon of f64.
    """
    weight, eps = rng.standard_normal((6, 4, 3, 2)), np.finfo(np.float64).eps
    values = {"weight": weight}
    for name, axes in (("out", (1, 2, 3)), ("in", (0, 2, 3))):
        norm = np.sqrt((weight ** 2).sum(axis=axes, keepdims=True))
        magnitude = norm * (1 + 0.2 * rng.standard_normal(norm.shape))
        values |= {f"norm_{name}": norm, f"magnitude_{name}": magnitude}
        values |= {f"weight_{name}": weight * magnitude / (norm + eps)}
    return values


def main():
    sections = (kron, tucker, cayley, spectrum, nearest_kronecker, dora)
    values = {f"{f.__name__}.{key}": np.ascontiguousarray(v) for f in sections for key, v in f().items()}
    save_file(values, OUT)


if __name__ == "__main__":
    main()
