"""The sections with the figures of a run."""

from __future__ import annotations

from .section import Section
from .sections.basis import BasisChoice
from .sections.gates import Gates
from .sections.notes import Notes
from .sections.table import MetricTable
from .sections.trade_offs import TradeOffs
from .summary import Summary


def figures(summary: Summary) -> list[Section]:
    """A chapter with gates, table, plots and notes, for both bases. The page shows one basis at a time."""
    return [
        BasisChoice(id="figures", title="Figures", start="common" if summary.common_pairs else "valid"),
        Gates(id="gates", outcomes=summary.gates),
        MetricTable(id="table", summary=summary),
        TradeOffs(id="trade-offs", summary=summary),
        Notes(id="notes", notes=summary.notes),
    ]
