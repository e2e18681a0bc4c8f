"""Mean-field theory of residual towers at initialisation: signal, identity path, token alignment, gradient.

Articles: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021) and https://kexue.fm/archives/8747 (8 Nov 2021).
Papers: Xiong et al. (2020), arXiv:2002.04745 (Pre- and Post-Norm); Bachlechner et al. (2020), arXiv:2003.04887
(ReZero); Zhang et al. (2019), arXiv:1901.09321 (Fixup); Wang et al. (2022), arXiv:2203.00555 (DeepNorm); Noci et al.
(2022), arXiv:2206.03126 (rank collapse).

A tower is a chain of residual branches F_l, two per Transformer layer (attention, feed-forward). `placement`:

==========  =======================================  =========================================================
"post"      x_{l+1} = Norm(x_l + F_l(x_l))           the original Transformer, BERT
"pre"       x_{l+1} = x_l + F_l(Norm(x_l))           and one Norm after the last branch
"none"      x_{l+1} = x_l + F_l(x_l)
"rezero"    x_{l+1} = x_l + α_l F_l(x_l)             α_l trained from 0 (SkipInit, ReZero)
"fixup"     x_{l+1} = x_l + F_l(x_l)                 the last matrix of each branch starts at 0
"deepnorm"  x_{l+1} = Norm(α x_l + F_l(x_l))         with depth branches, α = depth^(1/4); both matrices of a branch
                                                     (value and output, or the two of the FFN) times (4 depth)^(-1/4)
==========  =======================================  =========================================================

Norm divides by the root of the second moment; removing the mean as well changes terms of order 1/d_model only.
"""

import math

import numpy as np

from helpers.activations import gelu_kernel, relu_kernel
from helpers.inputs import Array, checked_choice, checked_integer, checked_number

PLACEMENTS = ("post", "pre", "none", "rezero", "fixup", "deepnorm")
_KERNELS = {"gelu": gelu_kernel, "relu": relu_kernel}
_LARGEST = 1e100  # where towers without Norm stop: squares of what comes after would overflow


def residual_scales(placement: str, depth: int) -> tuple[float, float]:
    """(factor of x_l, factor of each of the two matrices of a branch) in front of Norm at initialisation.

    (1, 1) but for "deepnorm", which depends on depth, and (1, 0) for "rezero" and "fixup", whose branches start silent.

    >>> [round(value, 10) for value in residual_scales("deepnorm", 24)]  # 12 layers
    [2.2133638394, 0.3194715521]
    """
    checked_choice("placement", placement, *PLACEMENTS)
    depth = max(1, checked_integer("depth", depth, 0))
    if placement == "deepnorm":
        return depth**0.25, (4 * depth) ** -0.25
    return 1.0, float(placement not in ("rezero", "fixup"))


def residual_moments(depth: int, branch_variance: float, placement: str) -> dict[str, Array]:
    """Second moment, identity weight and gradient along a tower of linear or positively homogeneous branches.

    Each branch has E F(x)² = s² E x², with output independent of x, and its Jacobian does the same to gradients: that
    holds for random matrices (exactly, in the mean, without Norm; with Norm up to terms of order depth/width) and for
    ReLU networks without biases. What placement does is to divide the fixed product of signal and gradient.

    Parameters
    ----------
    depth : number of branches L >= 0, two per Transformer layer.
    branch_variance : s² >= 0; for "deepnorm" before its factors.
    placement : see the module.

    Returns
    -------
    dict of arrays [L + 1], entry l for x_l: "second_moment" E x_l² (from E x_0² = 1, before the final Norm of "pre"),
    "identity_weight" the cosine between x_l and x_0, "gradient_ratio" |g_l|/|g_L| of the gradients with respect to x_l.

    Raises
    ------
    ValueError : depth no integer >= 0, branch_variance negative or not finite, unknown placement.

    >>> moments = residual_moments(24, 0.25, "post")
    >>> round(float(moments["identity_weight"][-1]), 4), float(moments["gradient_ratio"][0])
    (0.0687, 1.0)
    """
    L = checked_integer("depth", depth, 0)
    s2 = checked_number("branch_variance", branch_variance, "finite and >= 0", lambda value: 0 <= value < math.inf)
    skip, branch = residual_scales(placement, L)
    step = 1 + branch**4 * s2 / skip**2  # (E of the sum of both paths) / (E of the identity path)
    layer = np.arange(L + 1.0)
    second = 1 + s2 * layer if placement == "pre" else step**layer
    identity = second**-0.5
    if placement in ("post", "deepnorm"):  # Norm gives back what the branch added, to the signal and to the gradient
        second = np.ones(L + 1)
    return {"second_moment": second, "identity_weight": identity, "gradient_ratio": np.sqrt(second[-1] / second)}


def branch_variance(
    init_std: float,
    d_model: int,
    d_ff: int,
    n_tokens: int,
    token_correlation: float = 0.0,
    activation: str = "gelu",
) -> tuple[float, float]:
    """E F(x)² of an attention and of a feed-forward branch of a Transformer, for normalised input and zero biases.

    With a = d_model std²: attention a² (1/n + (1 - 1/n) ρ), at logits so small that all weights are about 1/n;
    feed-forward d_ff std² E f(√a z)², about d_model d_ff std⁴/4 for small std. This variance of the output, not
    that of the weights, is the s² of `residual_moments`.

    Parameters
    ----------
    init_std : standard deviation that the weights really have: 0.88 times the nominal one if cut off at 2 of these.
    d_model, d_ff : widths of the stream and of the hidden layer.
    n_tokens : n, over which attention averages.
    token_correlation : ρ, mean cosine between the n normalised inputs, in [-1/(n-1), 1].
    activation : f, "gelu" or "relu".

    Raises
    ------
    ValueError : init_std <= 0, sizes that are no integers >= 1, token_correlation out of range, unknown activation.

    >>> [round(value, 6) for value in branch_variance(0.0175925132, 768, 3072, 128)]  # BERT-base at "0.02", truncated
    [0.000441, 0.074822]
    """
    std, d, d_ff, n = _checked_sizes(init_std, d_model, d_ff, n_tokens)
    rho = _checked_correlation("token_correlation", token_correlation, n)
    checked_choice("activation", activation, *_KERNELS)
    a = d * std**2
    return a**2 * _mean_over_tokens(rho, n), float(d_ff * std**2 * _KERNELS[activation](a)[0])


def signal_propagation(
    n_layers: int,
    d_model: int,
    d_ff: int,
    n_tokens: int,
    init_std: float,
    placement: str = "post",
    activation: str = "gelu",
    gradient_correlation: float = 0.0,
    token_correlation: float = 0.0,
) -> dict[str, Array]:
    """Mean-field recursion through 2 n_layers branches (attention, feed-forward, attention, ...) at initialisation.

    State going up: second moment v and mean cosine ρ between tokens. An attention branch, with weights of about 1/n,
    gives all tokens the same output; a feed-forward branch maps (v, ρ) through the kernel of its activation. State
    going down: second moment and token correlation of the gradient, through the transposed branches and Norms.

    Parameters
    ----------
    n_layers : Transformer layers, >= 0.
    d_model, d_ff, n_tokens, init_std, activation : as in `branch_variance`.
    placement : see the module.
    gradient_correlation : of the gradient at the top between tokens: 0 (independent) or -1/(n_tokens - 1) (summing to
        zero over the tokens: the part that tells them apart), or anything from that to 1.
    token_correlation : of the input x_0, likewise.

    Returns
    -------
    dict of arrays [2 n_layers + 1], entry l for x_l: "second_moment" and "identity_weight" as in `residual_moments`,
    "token_correlation", "gradient_norm" |g_l|/|g_L|, and "gradient_correlation" between tokens.

    Raises
    ------
    ValueError : n_layers no integer >= 0, a correlation out of range, unknown placement, a second moment above 1e100
        (many layers without Norm, large init_std); as in `branch_variance`.

    >>> bert = signal_propagation(12, 768, 3072, 128, 0.017592513220684795)
    >>> [round(float(bert[key][-1]), 4) for key in ("identity_weight", "token_correlation")]
    [0.6377, 0.1001]
    """
    depth = 2 * checked_integer("n_layers", n_layers, 0)
    std, d, d_ff, n = _checked_sizes(init_std, d_model, d_ff, n_tokens)
    checked_choice("activation", activation, *_KERNELS)
    skip, branch = residual_scales(placement, depth)
    a, b = d * (branch * std) ** 2, d_ff * (branch * std) ** 2  # of the first and the second matrix, per unit of input
    kernel = _KERNELS[activation]
    normed_after, normed_before = placement in ("post", "deepnorm"), placement == "pre"

    v, rho = np.ones(depth + 1), np.full(depth + 1, _checked_correlation("token_correlation", token_correlation, n))
    kept = np.ones(depth + 1)  # share of the identity path in x_l
    total = np.ones(depth)  # second moment in front of the Norm that follows
    slopes = np.zeros((depth, 2))  # E f'(u)f'(v) of the feed-forward branches, for one token and for two
    for layer in range(depth):
        u = 1.0 if normed_before else v[layer]  # second moment that enters the branch
        if layer % 2 == 0:
            own = other = a**2 * u * _mean_over_tokens(rho[layer], n)
        else:
            values, slopes[layer] = kernel(a * u, (1.0, rho[layer]))
            own, other = b * values
        identity = skip**2 * v[layer]
        total[layer] = identity + own
        if total[layer] > _LARGEST:
            raise ValueError(
                f"init_std must keep second moments below {_LARGEST:g}, got {std} ({total[layer]:g} at x_{layer + 1})"
            )
        v[layer + 1] = 1.0 if normed_after else total[layer]
        rho[layer + 1] = (identity * rho[layer] + other) / total[layer]
        kept[layer + 1] = kept[layer] * identity / total[layer]

    G = np.ones(depth + 1)
    rho_g = np.full(depth + 1, _checked_correlation("gradient_correlation", gradient_correlation, n))
    for layer in reversed(range(depth)):
        if layer % 2 == 0:
            own = other = a**2 * _mean_over_tokens(rho_g[layer + 1], n)
        else:
            own, other = a * b * slopes[layer] * (1.0, rho_g[layer + 1])
        if normed_before:
            own, other = own / v[layer], other / v[layer]
        G[layer] = G[layer + 1] * (skip**2 + own) / (total[layer] if normed_after else 1.0)
        rho_g[layer] = (skip**2 * rho_g[layer + 1] + other) / (skip**2 + own)
    return {
        "second_moment": v,
        "identity_weight": np.sqrt(kept),
        "token_correlation": rho,
        "gradient_norm": np.sqrt(G),
        "gradient_correlation": rho_g,
    }


def _mean_over_tokens(rho: float, n: int) -> float:
    """Second moment of the mean of n tokens of unit second moment and mean cosine rho; 0, not less, for a zero sum."""
    return max(0.0, float(1 / n + (1 - 1 / n) * rho))


def _checked_sizes(init_std: float, d_model: int, d_ff: int, n_tokens: int) -> tuple[float, int, int, int]:
    std = checked_number("init_std", init_std, "a finite number > 0", lambda value: 0 < value < math.inf)
    d, d_ff = checked_integer("d_model", d_model, 1), checked_integer("d_ff", d_ff, 1)
    return std, d, d_ff, checked_integer("n_tokens", n_tokens, 1)


def _checked_correlation(name: str, value: float, n: int) -> float:
    least = -1 / (n - 1) if n > 1 else -1.0
    return checked_number(name, value, f"in [{least:.6g}, 1]", lambda number: least * (1 + 1e-12) <= number <= 1)
