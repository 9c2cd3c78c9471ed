"""Errors on the validation set, by distance to the nearest observation and by source."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fusion.data.stream import Group

GAP_EDGES = (15.0, 30.0, 60.0, 100.0)


class ErrorSums:
    """Sums of errors over the batches of one validation.

    The first group added gives ``mae``, ``linear``, ``bias`` and ``cover90`` by gap and ``mae`` and ``mae_over_linear``
    of all, the others ``mae`` and ``mae_over_linear`` with their name in front. Of several sources,
    ``SOURCE/mae_over_linear`` tells each.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = sources
        self._sums: dict[tuple[str, str, int], Tensor] = {}

    def add(self, name: str, group: Group, predicted: tuple[Tensor, Tensor], linear: Tensor) -> None:
        """Add the predictions (NDVI, scale) of one group, each (B, T, H, W)."""
        ndvi, scale = predicted
        edges = (0.0, *GAP_EDGES, math.inf)
        for source in group.source.unique().tolist():
            rows = group.source == source
            target, gap = group.target[rows], group.gap_days[rows]
            for i, (low, high) in enumerate(pairwise(edges)):
                inside = torch.isfinite(target) & (gap >= low) & (gap < high)
                error = (ndvi[rows] - target)[inside]
                part = torch.stack(
                    [
                        inside.sum(),
                        error.abs().sum(),
                        (linear[rows] - target)[inside].abs().sum(),
                        error.sum(),
                        (error.abs() <= 2.3026 * scale[rows][inside]).sum(),  # 90 % of a Laplace error
                    ]
                ).double()
                key = (name, f"lt{GAP_EDGES[0]:.0f}" if i == 0 else f"ge{GAP_EDGES[i - 1]:.0f}", source)
                self._sums[key] = self._sums.get(key, torch.zeros_like(part)) + part

    def values(self) -> dict[str, Tensor]:
        """Name -> value of every error that has a pixel-date."""
        found: dict[str, Tensor] = {}
        groups = list(dict.fromkeys(group for group, _, _ in self._sums))
        for group in groups:
            head = "" if group == groups[0] else f"{group}_"
            for gap in dict.fromkeys(gap for _, gap, _ in self._sums):
                count, error, linear, bias, covered = self._sum(group, gap=gap)
                if count > 0:
                    found[f"{head}mae_{gap}"] = error / count
                if count > 0 and not head:
                    found[f"{head}linear_{gap}"] = linear / count
                    found[f"{head}bias_{gap}"] = bias / count
                    found[f"{head}cover90_{gap}"] = covered / count
            total = self._sum(group)
            found[f"{head}mae"] = total[1] / total[0].clamp(min=1)
            found[f"{head}mae_over_linear"] = total[1] / total[2].clamp(min=1e-9)
            if len(self.sources) > 1:
                for source in sorted({k for name, _, k in self._sums if name == group}):
                    total = self._sum(group, source=source)
                    name = f"{self.sources[source]}/{head}mae_over_linear"
                    found[name] = total[1] / total[2].clamp(min=1e-9)
        return found

    def _sum(self, group: str, *, gap: str | None = None, source: int | None = None) -> Tensor:
        parts = [
            value
            for (name, at, k), value in self._sums.items()
            if name == group and gap in (None, at) and source in (None, k)
        ]
        return torch.stack(parts).sum(0)
