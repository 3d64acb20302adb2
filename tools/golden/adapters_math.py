"""The kinds of adapters as their papers and trainers define them: numpy, f64, written for clarity.

Parts are as files store them; each function gives the difference of the weight, or (rotations, DoRA) the new weight.
"""

import numpy as np


def f64(x):
    return np.asarray(x, np.float64)


def lora(up, down):
    """Hu et al. 2021, dW = B A; a convolution's kernel belongs to A."""
    return np.einsum("or,r...->o...", f64(up).reshape(up.shape[0], -1), f64(down))


def tucker_lora(up, mid, down):
    """LyCORIS 2023: dW[o, i, h, w] = sum U[o, p] M[p, q, h, w] D[q, i]"""
    return np.einsum("op,pqhw,qi->oihw", f64(up)[:, :, 0, 0], f64(mid), f64(down)[:, :, 0, 0])


def loha(p):
    """FedPara, Hyeon-Woo et al. 2021"""
    return (f64(p["w1_a"]) @ f64(p["w1_b"])) * (f64(p["w2_a"]) @ f64(p["w2_b"]))


def loha_tucker(p):
    """The same paper's Proposition 3: each factor is a core with both sides multiplied."""
    one = np.einsum("pqhw,po,qi->oihw", f64(p["t1"]), f64(p["w1_a"]), f64(p["w1_b"]))
    two = np.einsum("pqhw,po,qi->oihw", f64(p["t2"]), f64(p["w2_a"]), f64(p["w2_b"]))
    return one * two


def side(p, name):
    return f64(p[name]) if name in p else f64(p[name + "_a"]) @ f64(p[name + "_b"])


def lokr(p, w2_shape=None):
    """Kronecker's product; w2_shape when w2's columns are a flattened kernel."""
    w1, w2 = side(p, "w1"), side(p, "w2")
    if w2_shape is None:
        return np.kron(w1, w2)
    return np.kron(w1[:, :, None, None], w2.reshape(w2_shape))


def lokr_tucker(p):
    w2 = np.einsum("pqhw,po,qi->oihw", f64(p["t2"]), f64(p["w2_a"]), f64(p["w2_b"]))
    return np.kron(side(p, "w1")[:, :, None, None], w2)


def dora(w, delta, magnitude, column):
    """Liu et al. 2024, equation 5, W' = m (W + dW) / ||W + dW||; norms of rows, or of an input's column over all outputs and taps."""
    v = w + delta
    axes = tuple(i for i in range(w.ndim) if i != (1 if column else 0))
    shape = [1] * w.ndim
    shape[1 if column else 0] = -1
    return f64(magnitude).reshape(shape) * v / np.sqrt((v * v).sum(axis=axes, keepdims=True))


def glora(w, p):
    """Chavan et al. 2023, without its scalars: dW = W A + B, both of low rank; A acts on the inputs of every tap."""
    a, b = f64(p["a1"]) @ f64(p["a2"]), lora(p["b1"], p["b2"])
    return np.einsum("oi...,ij->oj...", w, a) + b.reshape(w.shape)


def cayley(blocks, alpha, rows):
    """R = (I + Q)(I - Q)^-1, Q skew; with an alpha, ||Q|| over all blocks is at most alpha rows (LyCORIS, sd-scripts)."""
    q = f64(blocks) - np.swapaxes(f64(blocks), -1, -2)
    norm = np.sqrt((q * q).sum())
    if alpha and norm > alpha * rows:
        q = q * (alpha * rows / norm)
    one = np.eye(q.shape[-1])
    return (one + q) @ np.linalg.inv(one - q)


def oft(w, blocks, alpha=0.0, rescale=None):
    """Qiu et al. 2023; as trained by LyCORIS, a block of rows W_k becomes R_k^T W_k."""
    r = cayley(blocks, np.float64(np.float16(alpha)), w.shape[0])
    n, b = blocks.shape[:2]
    out = np.einsum("knm,knj->kmj", r, w.reshape(n, b, -1)).reshape(w.shape)
    return out if rescale is None else out * f64(rescale).reshape([-1] + [1] * (w.ndim - 1))


def boft(w, blocks, alpha=0.0):
    """Liu et al. 2023: W' = B_m ... B_1 W, B_i = P_i^T diag(R) P_i. P_i interleaves the two halves of groups of 2^i b rows."""
    r = cayley(blocks, np.float64(np.float16(alpha)), w.shape[0])
    m, n, b = blocks.shape[:3]
    rows, v = w.shape[0], w.reshape(w.shape[0], -1)
    for i in range(m):
        half = 2**i * b // 2
        order = np.arange(rows).reshape(-1, 2, half).transpose(0, 2, 1).reshape(-1)  # place -> row
        diagonal = np.zeros((rows, rows))
        for k in range(n):
            diagonal[k * b : (k + 1) * b, k * b : (k + 1) * b] = r[i, k]
        p = np.eye(rows)[order]
        v = p.T @ diagonal @ p @ v
    return v.reshape(w.shape)
