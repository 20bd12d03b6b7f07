"""What every answer about a bundle's classifier should say."""

from __future__ import annotations

from ..classifiers.foreign.contract import ForeignEntry


def notes_on(foreign: ForeignEntry | None, *, labels: int, standalone: bool) -> tuple[str, ...]:
    """Notes on a classifier.

    Args:
        foreign: its entry in bundle.toml if the user supplied it.
        labels: the number of labels that the bundle was made with.
        standalone: whether it has no bundle.
    """
    notes: list[str] = []
    if foreign is not None and foreign.among:
        notes.append(f"probabilities are among these {labels} classes of the classifier only (--among-mine)")
    if foreign is not None and foreign.saturated:
        notes.append(saturated_note(foreign.saturated))
    if standalone:
        notes.append("a classifier without a bundle: nothing measures whether the image is still realistic")
    return tuple(notes)


def saturated_note(share: float) -> str:
    """What to know about a classifier whose gradient is zero for a share of images."""
    return (
        f"the classifier's output is saturated, so that its gradient is zero, for {share:.0%} of the images looked at: "
        "where a search that needs it fails, that does not mean that the classifier is robust"
    )
