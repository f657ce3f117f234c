"""Golden values of the measures of rank that compare matrices, computed in f64.

Pinned: numpy 2.4.6, scipy 1.17.1, safetensors 0.8.0.

    pip install numpy==2.4.6 scipy==1.17.1 safetensors==0.8.0
    python -B tests/reference/make_measures.py

Writes `measures.safetensors` beside this file; two runs give the same bytes. Every value is that of numpy or
scipy, or computed from its definition.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from pathlib import Path

import numpy as np
from numpy.linalg import cond, eigvalsh, norm, svd
from safetensors.numpy import save_file
from scipy.linalg import orthogonal_procrustes, subspace_angles

OUT = Path(__file__).parent / "measures.safetensors"
rng = np.random.default_rng(5)


def condition():
    matrix = rng.standard_normal((9, 5))
    return {"matrix": matrix, "number": cond(matrix), "rank_at_90": rank_at(matrix, 0.9), "rank_at_99": rank_at(matrix, 0.99)}


def rank_at(matrix, share):
    energy = svd(matrix, compute_uv=False) ** 2
    return float(np.searchsorted(energy.cumsum() / energy.sum(), share) + 1)


def vendi():
    """exp of the entropy of the eigenvalues of K/n, K the cosines of the rows."""
    features = rng.standard_normal((12, 7)) * rng.uniform(0.1, 9.0, (12, 1))
    unit = features / norm(features, axis=1, keepdims=True)
    shares = eigvalsh(unit @ unit.T / 12)
    shares = shares[shares > 1e-14]
    return {"features": features, "score": np.exp(-(shares * np.log(shares)).sum())}


def angles():
    """Between column spaces of different dimension, one direction of which is almost shared."""
    a, b = rng.standard_normal((10, 4)), rng.standard_normal((10, 3))
    b[:, 0] = a @ rng.standard_normal(4) + 1e-7 * rng.standard_normal(10)
    p, q = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    sines = svd(q - p @ (p.T @ q), compute_uv=False)[::-1]
    angles = np.arctan2(sines, svd(p.T @ q, compute_uv=False))
    # scipy takes the sine of every angle where one of them is small, which has 8 digits near a right angle.
    assert np.allclose(angles, subspace_angles(a, b)[::-1], rtol=0, atol=1e-7)
    return {"a": a, "b": b, "angles": angles}


def intruders():
    """Shuttleworth et al., of the first 6 left singular vectors, without regard to signs."""
    base = rng.standard_normal((16, 12))
    tuned = base + 3.0 * rng.standard_normal((16, 2)) @ rng.standard_normal((2, 12))
    x, y = svd(base, full_matrices=False)[0], svd(tuned, full_matrices=False)[0][:, :6]
    likeness = np.abs(x.T @ y).max(axis=0)
    epsilons = np.linspace(0.3, 0.95, 14)
    counts = np.array([(likeness < e).sum() for e in epsilons], dtype=np.float64)
    return {"base": base, "tuned": tuned, "likeness": likeness, "epsilons": epsilons, "counts": counts}


def procrustes():
    """min |R^T X - Y| over rotations of all 5 rows; the draw is one whose optimum has determinant 1."""
    while True:
        x, y = rng.standard_normal((5, 8)), rng.standard_normal((5, 8))
        rotation = orthogonal_procrustes(x.T, y.T)[0]
        if np.linalg.det(rotation) > 0:
            return {"x": x, "y": y, "rotation": rotation, "error": norm(rotation.T @ x - y)}


def main():
    sections = (condition, vendi, angles, intruders, procrustes)
    values = {f"{f.__name__}.{key}": np.ascontiguousarray(v) for f in sections for key, v in f().items()}
    save_file(values, OUT)


if __name__ == "__main__":
    main()
