"""Principal components of what passes by, batch after batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Subspace(nn.Module):
    """The mean and the first principal components of all rows seen so far.

    Each batch is joined with what stands for the batches before it: their components, each as long
    as its share of the variance, and a row for how far the mean has moved (Ross et al. 2008,
    section 3.1). No gradient goes through.

    Parameters
    ----------
    values : int
        Numbers of a row.
    components : int
        Components that are kept.
    """

    def __init__(self, values: int, components: int):
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))
        """Rows seen so far."""
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("directions", torch.zeros(components, values))
        """(component, values): orthonormal, those of large variance first."""
        self.register_buffer("length", torch.zeros(components))
        """(component,): singular values."""

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in rows (n, values)."""
        with torch.autocast(rows.device.type, enabled=False):
            rows, before, n = rows.float(), self.seen, len(rows)
            mean, after = rows.mean(0), before + n
            moved = (mean - self.mean) * (before * n / after).sqrt().float()
            old = self.directions * self.length[:, None]
            joined = torch.cat([old, rows - mean, moved[None]]).double()
            # The matrix of products is far smaller than the rows are long.
            square, vectors = torch.linalg.eigh(joined @ joined.T)
            last = min(len(self.length), len(joined))
            length, vectors = square.flip(0)[:last].clamp(min=0).sqrt(), vectors.flip(1)[:, :last]
            there = length > 1e-6 * length[0]
            directions = (vectors.T @ joined) / torch.where(there, length, 1.0)[:, None]
            self.directions[:last] = (directions * there[:, None]).float()
            self.length[:last] = (length * there).float()
            self.mean.add_((mean - self.mean) * (n / after).float())
            self.seen.copy_(after)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return coefficients (n, component), and the mean square (n,) of what they leave out."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float() - self.mean
            found = rows @ self.directions.T
            return found, (rows - found @ self.directions).square().mean(1)
