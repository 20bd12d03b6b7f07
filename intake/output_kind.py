"""Decides what the numbers of a classifier's output mean: logits, probabilities, or independent labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..classifiers.foreign.opening import on_logits
from ..classifiers.foreign.outputs import contradiction, guess_output
from ..classifiers.foreign.preprocessing import MULTI_LABEL
from ..errors import UsageError, few, unknown_name
from ..images.sets.labels import class_index
from .probe import BATCH_SIZE, COMPARED, Probe

LABELS_SHOWN = 20


def settle_output(probe: Probe, names: Sequence[str] | None, label: str | None) -> str | None:
    """Decide the meaning of the output, and set it in the probe's preprocessing.

    Args:
        probe: of the classifier.
        names: names of the columns of the output, if they are known.
        label: the label that the user chose, by name or index.

    Returns:
        The name of the chosen label if the output is one of several labels, else None.

    Raises:
        UsageError: the output is not what the user says, or has several labels and none of them is chosen.
    """
    sample, given = probe.raw(BATCH_SIZE), probe.given.get("output")
    declared = given is not None or "output" in probe.foreign.declared
    kind = probe.preprocessing.output if declared else guess_output(sample)
    because = contradiction(kind, sample)
    if given is not None and because is not None:
        raise UsageError(
            f"--output {kind}: not what classifier {probe.foreign.name} returns: {because}; "
            f"it looks like {guess_output(sample)}"
        )
    if kind not in MULTI_LABEL:
        if label is not None:
            raise UsageError(
                f"--label {label}: the output of {probe.foreign.name} is taken as {kind} of one class among several; "
                "say --output multi-label-logits if it is a logit for each of several labels"
            )
        probe.preprocessing = replace(probe.preprocessing, output=kind)
        if kind != "logits" and not declared:
            probe.notes.append(f"the classifier's output is taken as {kind}; --output overrides this")
        _take_logits(probe)
        return None
    count = sample.reshape(len(sample), -1).shape[1]
    known = list(names) if names is not None and len(names) == count else [str(index) for index in range(count)]
    if label is None:
        what = (
            f"its {count} values range from 0 to 1 and do not sum to 1: they are independent labels"
            if given is None
            else f"it has {count} labels"
        )
        raise UsageError(
            f"classifier {probe.foreign.name}: {what}; choose one with --label: {few(known, LABELS_SHOWN)} "
            f"(or say --output logits if they are logits after all){probe.described_outputs()}"
        )
    index = class_index(label, known)
    if index is None:
        raise unknown_name("label", label, known)
    probe.preprocessing = replace(probe.preprocessing, output=kind, label=index)
    probe.notes.append(f"{kind}: the two classes are without and with the label {known[index]!r}")
    _take_logits(probe)
    return known[index]


def _take_logits(probe: Probe) -> None:
    """Have the classifier's last softmax or sigmoid left out, if it has one that can be told from the rest."""
    found = on_logits(probe.foreign, probe.preprocessing, probe.batch(COMPARED))
    if found is not None:
        probe.foreign, probe.preprocessing = found
        probe.notes.append(f"searches use the logits in front of the classifier's last {probe.foreign.activation}")
