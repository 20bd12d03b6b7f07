"""How near an engine is to its source, as the engine itself states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FidelityKind = Literal["paper", "variant", "ours"]
KINDS: tuple[str, ...] = get_args(FidelityKind)


@dataclass(frozen=True)
class Fidelity:
    """How near an engine is to the paper that it names.

    Attributes:
        kind: "paper", as its source describes it; "variant", a method after its source that differs where `departs`
            says; "ours", a method or a combination that no paper describes.
        departs: how it differs from its source, in one sentence; may be empty if `kind` is "paper".
    """

    kind: FidelityKind
    departs: str = ""


UNSTATED = Fidelity("variant", "its author does not say")
"""Of engines that do not state theirs."""


def fault_in(fidelity: object) -> str | None:
    """What is wrong with the attribute `fidelity` of an engine, as the end of a sentence; None if nothing is."""
    if not isinstance(fidelity, Fidelity):
        return f'fidelity is {fidelity!r}; write Fidelity("variant", "how it differs from its source")'
    if fidelity.kind not in KINDS:
        return f"the kind of its fidelity is {fidelity.kind!r}; choose {', '.join(KINDS[:-1])} or {KINDS[-1]}"
    if not isinstance(fidelity.departs, str) or (fidelity.kind != "paper" and not fidelity.departs.strip()):
        return f"its fidelity, {fidelity.kind}, does not say in departs how it differs from its source"
    return None
