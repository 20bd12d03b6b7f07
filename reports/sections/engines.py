"""The glossary of a page with answers, with how near each of its engines is to its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...counterfactuals.registry import engine_names, load_engine
from ...errors import UsageError
from .glossary import OF_COUNTERFACTUALS, Glossary


def glossary_of(engines: Iterable[str]) -> Glossary:
    """The words of a page with answers of these engines; those that are not installed any more are left out."""
    terms = dict(OF_COUNTERFACTUALS.terms)
    installed = engine_names()
    for name in engines:
        if name not in installed:
            continue
        try:
            fidelity = load_engine(name).fidelity
        except UsageError:
            continue
        terms[name] = f"{fidelity.kind}: {fidelity.departs}" if fidelity.departs else fidelity.kind
    return replace(OF_COUNTERFACTUALS, terms=terms)
