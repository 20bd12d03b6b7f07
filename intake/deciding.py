"""Decides between preprocessings by how they rank, and says in sentences what was measured and what was not decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..classifiers.foreign.preprocessing import NORMALISATIONS, Preprocessing
from .input_sizes import Size
from .likelihood import likelier
from .trials import Ranking

NORMALISATION, ORDER, SIZE = "normalisation", "channel order", "size"
OPTIONS = {NORMALISATION: "--mean, --std, --scale", ORDER: "--order", SIZE: "--input-size"}
LEAST_GAIN = 0.1  # of the NLL, from which on a declaration is doubted: a wrong one costs more


@dataclass(frozen=True)
class Decision:
    """A preprocessing, and why.

    Attributes:
        chosen: the preprocessing.
        tied: those between which the images do not decide, it among them.
        notes: what was measured.
    """

    chosen: Preprocessing
    tied: tuple[Preprocessing, ...]
    notes: tuple[str, ...]


def decide(ranking: Ranking, first: Preprocessing, undeclared: Sequence[str]) -> Decision:
    """The preprocessing that is taken, and notes about it.

    Args:
        ranking: of the preprocessings that were compared.
        first: the one that changes nothing but what is declared.
        undeclared: the respects in which they differ.
    """
    fits, own = ranking.fits, ranking.own_size
    if not ranking.telling:
        says = (
            f"{in_words(own, first, undeclared)}: not checked, because with none of {len(fits)} preprocessings are "
            f"the {ranking.images} labelled images told apart better than by guessing; {_options(undeclared)} set it"
        )
        return Decision(first, tuple(fits), (says,))
    chosen = _chosen(ranking, first)
    undecided = tuple(dict.fromkeys((chosen, *ranking.undecided())))
    compared = f"({len(fits)} preprocessings compared on {ranking.images} labelled images)"
    changed = _differences(own, chosen, first)
    notes: list[str] = []
    if changed:
        notes.append(
            f"{in_words(own, chosen, changed)}: used, because it fits the labels better than "
            f"{in_words(own, first, changed)}: {_gain(ranking, chosen, first)} {compared}; "
            f"{_options(changed)} set another"
        )
    elif len(undecided) == 1 and len(fits) > 1:
        second = [*fits][1]
        notes.append(
            f"{in_words(own, first, undeclared)}: used, because it fits the labels best: "
            f"{_gain(ranking, first, second)} with {in_words(own, second, _differences(own, second, first))} {compared}"
        )
    for respect in OPTIONS:
        notes += _not_decided(ranking, chosen, undecided, respect)
    return Decision(chosen, undecided, tuple(notes))


def _chosen(ranking: Ranking, first: Preprocessing) -> Preprocessing:
    """The best, or one that the paired 95 % interval does not exclude and that changes less, or is more usual."""
    fits = ranking.fits
    best = next(iter(fits))
    near = [each for each in fits if each == best or not likelier(fits[best].fitted, fits[each].fitted)]
    return min(near, key=lambda each: (len(_differences(ranking.own_size, each, first)), _rarity(each)))


def doubts(ranking: Ranking, chosen: Preprocessing, others: Sequence[Preprocessing], respect: str) -> list[str]:
    """A warning if the labels are surely likelier with one of the `others` than with what is declared."""
    fits, own = ranking.fits, ranking.own_size
    enough = (1 - LEAST_GAIN) * fits[chosen].fitted_loss
    likely = [other for other in fits if other in others and fits[other].fitted_loss < enough]
    better = [other for other in likely if ranking.surely(other, chosen)]
    if not better or not ranking.telling:
        return []
    return [
        f"{in_words(own, better[0], [respect])}: fits the labels better than {in_words(own, chosen, [respect])}: "
        f"{_gain(ranking, better[0], chosen)} as declared, on {ranking.images} labelled images: "
        "is the declaration right?"
    ]


def _rarity(preprocessing: Preprocessing) -> int:
    """The place of a normalisation among the `NORMALISATIONS`, of which the usual ones come first."""
    found = (preprocessing.scale, preprocessing.mean, preprocessing.std)
    return next((place for place, values in enumerate(NORMALISATIONS.values()) if values == found), len(NORMALISATIONS))


def _not_decided(
    ranking: Ranking, chosen: Preprocessing, undecided: Sequence[Preprocessing], respect: str
) -> list[str]:
    """A note about what else the images leave open in one respect, with the lowest NLL of each."""
    found: dict[str, Preprocessing] = {}
    for other in undecided:  # the best first
        if respect in _differences(ranking.own_size, other, chosen):
            found.setdefault(_value(ranking.own_size, other, respect), other)
    if not found:
        return []
    own = _value(ranking.own_size, chosen, respect)
    others = ", ".join(f"{value} ({_losses(ranking, other)})" for value, other in found.items())
    return [
        f"{respect} {own} ({_losses(ranking, chosen)}): used, but {ranking.images} labelled images do not decide "
        f"between it and {others}; {OPTIONS[respect]} set another"
    ]


def _losses(ranking: Ranking, preprocessing: Preprocessing) -> str:
    fit = ranking.fits[preprocessing]
    return f"NLL {fit.loss:.3g}, {fit.fitted_loss:.3g} fitted"


def _gain(ranking: Ranking, better: Preprocessing, other: Preprocessing) -> str:
    first, second = ranking.fits[better], ranking.fits[other]
    return (
        f"{_losses(ranking, better)}, {first.accuracy:.1%} right, instead of "
        f"{_losses(ranking, other)}, {second.accuracy:.1%} right"
    )


def in_words(own: Size, preprocessing: Preprocessing, respects: Sequence[str] = tuple(OPTIONS)) -> str:
    """What a preprocessing is in some respects, for images whose own size is (H, W) = `own`."""
    return ", ".join(f"{respect} {_value(own, preprocessing, respect)}" for respect in respects)


def _differences(own: Size, one: Preprocessing, other: Preprocessing) -> list[str]:
    return [respect for respect in OPTIONS if _value(own, one, respect) != _value(own, other, respect)]


def _options(respects: Sequence[str]) -> str:
    return ", ".join(OPTIONS[respect] for respect in respects)


def _value(own: Size, preprocessing: Preprocessing, respect: str) -> str:
    if respect == ORDER:
        return preprocessing.order
    if respect == SIZE:
        height, width = preprocessing.size or own
        return f"{height}x{width}"
    found = (preprocessing.scale, preprocessing.mean, preprocessing.std)
    for name, values in NORMALISATIONS.items():
        if found == values:
            return repr(name)
    mean, std = (",".join(f"{value:g}" for value in values) for values in found[1:])
    return f"mean {mean}, std {std}" + (f", scale {found[0]:g}" if found[0] != 1 else "")
