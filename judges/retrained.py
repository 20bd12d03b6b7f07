"""Retrained copies of the explained classifier, to test whether counterfactuals stay valid after retraining."""

from __future__ import annotations

from ..classifiers.ensemble import Ensemble


class Retrained(Ensemble):
    """Several classifiers trained on the explained one's images with other seeds, often narrower; they only score."""
