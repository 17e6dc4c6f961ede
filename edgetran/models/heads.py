"""The head types of FlexiBERT (arXiv 2205.11656, section 3.1), each as one batched operation.

Shapes: B examples, S positions, n heads of the module, d head dimension, k span of a
convolution. Every module maps its slices of the layer's projections to head outputs of shape
(B, S, n, d), heads in slot order (`edgetran.models.layout`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 32
"""Positions per block of the dynamic convolution's banded product.

A block of b positions reads b + k − 1 of them: larger blocks multiply more zeros, smaller ones
leave the matrix products too thin for a CPU.
"""


def dct_matrix(length: int) -> Tensor:
    """Orthonormal DCT-II, (length, length) in float64: D[u, s] = c_u cos(π(2s+1)u / 2·length)."""
    frequency = torch.arange(length)[:, None]
    position = torch.arange(length)[None, :]
    # The phase is reduced in integers, so that long transforms lose no digits.
    phase = (2 * position + 1) * frequency % (4 * length)
    matrix = torch.cos(phase.double() * (math.pi / (2 * length))) * math.sqrt(2 / length)
    matrix[0] /= math.sqrt(2)
    return matrix


def dft_matrices(length: int) -> tuple[Tensor, Tensor]:
    """Real and negated imaginary part of the orthonormal DFT, each (length, length) in float64.

    C[u, s] = cos(2πus / length) / √length and S likewise with sin; for a real matrix V the real
    part of its two-dimensional transform is C V Cᵀ − S V Sᵀ.
    """
    index = torch.arange(length)
    phase = (index[:, None] * index % length).double() * (2 * math.pi / length)
    return torch.cos(phase) / math.sqrt(length), torch.sin(phase) / math.sqrt(length)


class ScoreHeads(nn.Module):
    """`sa_sdp` heads, softmax(QKᵀ/√d) V, and `sa_wma` heads, softmax((QW)Kᵀ/√d) V.

    A `sa_wma` head differs by its query alone, so both types share one attention call.

    Args:
        num_sdp: number of `sa_sdp` heads, the first slots.
        num_wma: number of `sa_wma` heads.
        head_dim: dimension d.
        dropout: on the attention probabilities, in training.
        distances: longest distance + 1 of relative positions (R[i−j], one table for the layer's
            heads); 0 for none.
    """

    weighting: Tensor
    distance_embeddings: Tensor

    def __init__(
        self, num_sdp: int, num_wma: int, head_dim: int, dropout: float, distances: int
    ) -> None:
        super().__init__()
        self.num_sdp = num_sdp
        self.head_dim = head_dim
        self.dropout = dropout
        self.distances = distances
        self.weighted = num_wma > 0
        if self.weighted:
            self.weighting = nn.Parameter(torch.empty(num_wma, head_dim, head_dim))
        if distances:
            # Row t is R[i−j] of i−j = distances − 1 − t.
            self.distance_embeddings = nn.Parameter(torch.empty(2 * distances - 1, head_dim))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, explicit: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            query: (B, S, n, d); key and value likewise.
            key: as query.
            value: as query.
            mask: (B, 1, 1, S), True where a position may be attended to; None for everywhere.
            explicit: whether to compute the probabilities and return them.

        Returns:
            Head outputs (B, S, n, d) and probabilities (B, n, S, S) or None.
        """
        if self.weighted:
            query = self._weigh(query)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        bias = self._relative_scores(query, mask) if self.distances else mask
        dropout = self.dropout if self.training else 0.0
        probabilities = None
        if explicit:
            scores = query @ key.transpose(-1, -2) * self.head_dim**-0.5  # (B, n, S, S)
            if bias is not None:
                # The lowest number instead of −inf: an example of padding alone stays finite.
                lowest = torch.finfo(scores.dtype).min
                scores = (
                    scores.masked_fill(~bias, lowest)
                    if bias.dtype == torch.bool
                    else scores + bias.clamp(min=lowest)
                )
            probabilities = functional.dropout(scores.softmax(-1), dropout)
            output = probabilities @ value
        else:
            output = functional.scaled_dot_product_attention(query, key, value, bias, dropout)
        return output.transpose(1, 2), probabilities

    def _weigh(self, query: Tensor) -> Tensor:
        """Q of the `sa_sdp` heads, QW of the others, (B, S, n, d)."""
        batch, length, _, dim = query.shape
        plain, weighted = query[:, :, : self.num_sdp], query[:, :, self.num_sdp :]
        weighted = torch.bmm(weighted.flatten(0, 1).transpose(0, 1), self.weighting)
        weighted = weighted.transpose(0, 1).view(batch, length, -1, dim)
        return torch.cat([plain, weighted], 2) if self.num_sdp else weighted

    def _relative_scores(self, query: Tensor, mask: Tensor | None) -> Tensor:
        """q·R[i−j]/√d, (B, n, S, S), and −inf where the mask forbids."""
        length = query.shape[2]
        table = self.distance_embeddings[
            self.distances - length : self.distances + length - 1
        ]  # (2S−1, d)
        scores: Tensor = functional.pad(query @ table.T, (0, 1)).flatten(
            2
        )  # row i: distances S−1 … −S+1, then 0
        # Row i starts one column earlier than row i − 1: read with a row length shorter by one.
        scores = scores[..., length - 1 : length - 1 + length * (2 * length - 1)]
        rows: Tensor = scores.unflatten(2, (length, 2 * length - 1))
        scores = rows[..., :length] * self.head_dim**-0.5
        return scores if mask is None else scores.masked_fill(~mask, -math.inf)


class PositionTransforms(nn.Module):
    """The transforms over positions that the `l` heads of all layers share.

    Args:
        length: the constant transform length T; inputs are padded to it with zeros.
        dft: whether a layer has `l_dft` heads.
        dct: whether a layer has `l_dct` heads.
    """

    dft: Tensor
    dct: Tensor

    def __init__(self, length: int, *, dft: bool, dct: bool) -> None:
        super().__init__()
        self.length = length
        if dft:
            self.register_buffer("dft", torch.empty(2, length, length), persistent=False)
        if dct:
            self.register_buffer("dct", torch.empty(length, length), persistent=False)

    def reset_buffers(self) -> None:
        """Fill the constant matrices."""
        if hasattr(self, "dft"):
            cosine, sine = dft_matrices(self.length)
            self.dft.copy_(torch.stack([cosine, -sine]))
        if hasattr(self, "dct"):
            self.dct.copy_(dct_matrix(self.length))

    def forward(self, length: int) -> tuple[Tensor | None, Tensor | None]:
        """The parts that S positions need, DFT [C, −S] (S, 2·S) and DCT (S, S).

        The padding to T is all zeros and only the first S outputs are kept, so the first S rows
        and columns are enough: the cost is S·S, not T·T.
        """
        return (
            torch.cat(self.dft[:, :length, :length].unbind(), 1) if hasattr(self, "dft") else None,
            self.dct[:length, :length] if hasattr(self, "dct") else None,
        )


class FourierHeads(nn.Module):
    """`l_dft` heads: the real part of the orthonormal 2-D DFT of V over positions and d.

    Args:
        head_dim: dimension d.
    """

    basis: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.empty(head_dim, 2 * head_dim), persistent=False)

    def reset_buffers(self) -> None:
        """Fill the constant matrices, cosine beside sine."""
        self.basis.copy_(torch.cat(dft_matrices(len(self.basis)), 1))

    def forward(self, value: Tensor, positions: Tensor) -> Tensor:
        """C_T V C_d − S_T V S_d.

        Args:
            value: (B, S, n, d), padding masked to zero.
            positions: (S, 2·S), cosine beside negated sine.
        """
        batch, length, heads, dim = value.shape
        parts = value.reshape(-1, dim) @ self.basis  # V C_d and V S_d beside each other
        parts = parts.view(batch, length, heads, 2, dim).permute(0, 3, 1, 2, 4)
        mixed = positions @ parts.reshape(batch, 2 * length, heads * dim)  # one below the other
        return mixed.view(batch, length, heads, dim)


class CosineHeads(nn.Module):
    """`l_dct` heads: the orthonormal 2-D DCT-II of V over positions and d.

    Args:
        head_dim: dimension d.
    """

    basis: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.empty(head_dim, head_dim), persistent=False)

    def reset_buffers(self) -> None:
        """Fill the constant matrix."""
        self.basis.copy_(dct_matrix(self.basis.shape[-1]))

    def forward(self, value: Tensor, positions: Tensor) -> Tensor:
        """D_T V D_dᵀ.

        Args:
            value: (B, S, n, d), padding masked to zero.
            positions: (S, S).
        """
        mixed = positions @ value.flatten(2)
        return (mixed.view(-1, value.shape[-1]) @ self.basis.T).view(value.shape)


class ConvolutionHeads(nn.Module):
    """`c_k` heads: the span-based dynamic convolution of ConvBERT (arXiv 2008.02496).

    A separable convolution of K (depth-wise over k positions, point-wise d → d), times Q, gives
    through Linear(d → k) and a softmax one kernel per position, applied to Linear(d → d) of V.

    Heads of different spans run together at the longest span K: a shorter kernel stands in its
    middle, with zero depth-wise weights and −inf logits outside. Weights that have one row per
    tap are stored without that padding, head after head, (sum of spans, d).

    Args:
        spans: span k (odd) of each head.
        head_dim: dimension d.
    """

    taps: Tensor
    absent: Tensor

    def __init__(self, spans: tuple[int, ...], head_dim: int) -> None:
        super().__init__()
        self.spans = spans
        self.longest = max(spans)
        self.of_one_span = len(set(spans)) == 1
        heads, rows = len(spans), sum(spans)
        self.depthwise = nn.Parameter(torch.empty(rows, head_dim))
        self.pointwise = nn.Parameter(torch.empty(heads, head_dim, head_dim))  # (n, in, out)
        self.pointwise_bias = nn.Parameter(torch.empty(heads, head_dim))
        self.kernel = nn.Parameter(torch.empty(rows, head_dim))
        self.kernel_bias = nn.Parameter(torch.empty(rows))
        self.value = nn.Parameter(torch.empty(heads, head_dim, head_dim))  # (n, in, out)
        self.value_bias = nn.Parameter(torch.empty(heads, head_dim))
        if not self.of_one_span:
            taps, absent = (
                torch.empty(heads * self.longest).long(),
                torch.empty(heads, self.longest),
            )
            self.register_buffer("taps", taps, persistent=False)
            self.register_buffer("absent", absent.bool(), persistent=False)

    def reset_buffers(self) -> None:
        """Fill the index that spreads the rows of all taps over (n, K), and where there is none."""
        if self.of_one_span:
            return
        self.absent.fill_(True)
        for head, width in enumerate(self.spans):
            start = (self.longest - width) // 2
            self.absent[head, start : start + width] = False
        present = ~self.absent.flatten()
        self.taps.copy_((present.cumsum(0) - 1).clamp(min=0))

    def _spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Depth-wise weights (n, K, d), kernel weights (n, K, d) and kernel biases (n, K)."""
        rows = self.depthwise, self.kernel, self.kernel_bias
        if self.of_one_span:
            depthwise, kernel, bias = (x.view(-1, self.longest, *x.shape[1:]) for x in rows)
            return depthwise, kernel, bias
        shape = len(self.spans), self.longest
        depthwise, kernel, bias = (
            x.index_select(0, self.taps).view(*shape, *x.shape[1:]) for x in rows
        )
        # Where there is no tap some row stands; a logit of −inf makes the kernel's irrelevant.
        absent = self.absent
        return (
            depthwise.masked_fill(absent[..., None], 0.0),
            kernel,
            bias.masked_fill(absent, -math.inf),
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, tokens: Tensor | None) -> Tensor:
        """Convolve.

        Args:
            query: (B, S, n, d); key and value likewise.
            key: as query.
            value: as query.
            tokens: (B, S, 1, 1), 0 at padding and 1 elsewhere; None where nothing is padded.
        """
        batch, length, heads, dim = query.shape
        depthwise, kernel, kernel_bias = self._spread()
        key = key.reshape(batch, 1, length, heads * dim) if tokens is None else key * tokens
        mixed = functional.conv2d(  # channels-last, (B, n·d, 1, S)
            key.view(batch, 1, length, heads * dim).permute(0, 3, 1, 2),
            depthwise.transpose(1, 2).reshape(-1, 1, 1, self.longest),
            padding=(0, self.longest // 2),
            groups=heads * dim,
        )
        mixed = mixed.permute(0, 2, 3, 1).reshape(batch * length, heads, dim)
        # From here on (n, B·S, ·): one product per head, batched.
        query, value = (x.flatten(0, 1).transpose(0, 1) for x in (query, value))
        mixed = torch.baddbmm(self.pointwise_bias[:, None], mixed.transpose(0, 1), self.pointwise)
        logits = torch.baddbmm(kernel_bias[:, None], mixed * query, kernel.transpose(1, 2))
        values = torch.baddbmm(self.value_bias[:, None], value, self.value)
        kernels = logits.softmax(-1).view(heads, batch, length, self.longest)
        values = values.view(heads, batch, length, dim)
        if tokens is not None:
            values = values * tokens.squeeze(-1)
        return banded_product(kernels, values).permute(1, 2, 0, 3)


def banded_product(kernels: Tensor, values: Tensor) -> Tensor:
    """Apply one kernel per position: out[s] = sum over j of kernels[s, j] · values[s + j − k//2].

    Positions are taken in blocks; within a block the kernels are the diagonals of a small banded
    matrix, so that the whole is one batched matrix product, without copying every value k times.

    Args:
        kernels: (n, B, S, k), k odd.
        values: (n, B, S, d), taken as zero outside.

    Returns:
        (n, B, S, d).
    """
    heads, batch, length, span = kernels.shape
    dim, halo = values.shape[3], span - 1
    blocks = (length + BLOCK - 1) // BLOCK
    padded = functional.pad(values, (0, 0, halo // 2, (blocks + 1) * BLOCK - length - halo // 2))
    padded = padded.view(heads * batch, blocks + 1, BLOCK, dim)
    windows = torch.cat([padded[:, :-1], padded[:, 1:, :halo]], 2)  # a block and what it reads on
    # Row r of the band starts at column r: pad rows to BLOCK + k, read them as one shorter.
    band = functional.pad(kernels, (0, BLOCK, 0, blocks * BLOCK - length))
    band = band.view(-1, BLOCK * (BLOCK + span))[:, : BLOCK * (BLOCK + halo)]
    band = band.view(-1, BLOCK, BLOCK + halo)
    out = torch.bmm(band, windows.view(-1, BLOCK + halo, dim))
    return out.view(heads, batch, blocks * BLOCK, dim)[:, :, :length]
