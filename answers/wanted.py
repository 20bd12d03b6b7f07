"""What is asked of an image: a class, the nearest of several classes, its label, or any class with certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from ..bundles.bundle import Bundle
from ..documents import Table
from ..errors import UsageError, few, unknown_name
from ..images.sets.labels import class_index, folded
from .wording import with_article

LIKELIEST = 3  # classes that are tried where a goal leaves the class open

GoalName = Literal["target", "any", "not", "label", "certain"]


@dataclass(frozen=True)
class Wanted:
    """What is asked of an image.

    Attributes:
        goal: "target": to be seen as a class; "any": as one of several; "not": as another than a class; "label": as
            what it is; "certain": as any class, with the confidence that is asked for.
        classes: their indices. None for "target" means the runner-up, and for "not" it is the class that is left.
    """

    goal: GoalName = "target"
    classes: tuple[int, ...] = ()

    def targets(self, probabilities: Tensor, bundle: Bundle) -> list[int]:
        """The classes of which any will do, the likeliest first.

        Where the goal leaves the class open, these are the `LIKELIEST` ones.

        Args:
            probabilities: (K,) of the image.
            bundle: names the classes that its models were trained on.
        """
        if self.classes and self.goal != "not":
            return sorted(self.classes, key=lambda label: -float(probabilities[label]))
        ruled_out, count = self.classes, LIKELIEST
        if self.goal == "target":
            ruled_out, count = (int(probabilities.argmax()),), 1
        open_ones = set(bundle.present) - set(ruled_out)
        return [label for label in probabilities.argsort(descending=True).tolist() if label in open_ones][:count]

    def wording(self, targets: Sequence[str], classes: Sequence[str]) -> str:
        """The end of the question "what would make this ...?"."""
        if self.goal == "certain":
            return "anything that the model is sure of"
        if self.goal == "not":
            return f"anything but {with_article(classes[self.classes[0]])}"
        if self.goal == "any":
            return f"one of {', '.join(classes[label] for label in self.classes)}"
        return with_article(targets[0]) + (", as it is labelled" if self.goal == "label" else "")


def wanted_of(target: str, bundle: Bundle, *, other_than: str | None = None, certain: bool = False) -> Wanted | None:
    """What the words of a user ask for.

    Args:
        target: a class by name or index, several separated by commas, "auto" for the runner-up, or "label".
        bundle: with the classes.
        other_than: a class by name or index, of which the image is to be seen as another.
        certain: whether any class will do.

    Returns:
        None for "label", which differs from image to image.

    Raises:
        UsageError: there is no such class, or the bundle was trained without images of it.
    """
    if certain:
        return Wanted("certain")
    if other_than is not None:
        if "," in other_than and class_index(other_than, bundle.classes) is None:
            raise UsageError(f"not {other_than}: only one class can be ruled out; ask for the others as targets")
        return Wanted("not", (known_class(other_than, bundle, trained=False),))
    if class_index(target, bundle.classes) is None:  # a class may be named "auto", or with a comma
        if target == "auto":
            return Wanted()
        if target == "label":
            return None
        if "," in target:
            names = [name.strip() for name in target.split(",") if name.strip()]
            for name in names:
                if name in ("auto", "label") and class_index(name, bundle.classes) is None:
                    raise UsageError(f"target {target}: {name} is no class, and cannot be one of several")
            several = tuple(dict.fromkeys(known_class(name, bundle) for name in names))
            return Wanted("target" if len(several) == 1 else "any", several)
    return Wanted("target", (known_class(target, bundle),))


def goal_of(table: Table) -> GoalName:
    """The goal of a question in a document.

    Raises:
        CfxError: of the table's type, if there is no such goal.
    """
    name = table.get("goal", str) or "target"
    for known in get_args(GoalName):
        if name == known:
            return known
    raise table.wrong("goal", " or ".join(get_args(GoalName)), name)


def label_of(name: str, path: Path | None, bundle: Bundle) -> Wanted:
    """To be seen as the class that the folder of an image names.

    Args:
        name: of the image, for messages.
        path: its file; None if it has none.
        bundle: with the classes.

    Raises:
        UsageError: there is no file, or its folder has another name.
    """
    if path is None:
        raise UsageError(f"{name}: is no file, so that no folder names its label; give its class as the target")
    folder = path.absolute().parent.name
    found = class_index(folder, bundle.classes)
    if found is None or folded(bundle.classes[found]) != folded(folder):  # a number is no index here
        known = few(bundle.classes, 12)
        raise UsageError(
            f"{name}: its folder, {folder!r}, is none of the classes {known}, so that its label is not known; put it "
            "into a folder with the name of its class, or list images and classes in a CSV for --targets"
        )
    return Wanted("label", (known_class(bundle.classes[found], bundle),))


def known_class(name: str, bundle: Bundle, *, trained: bool = True) -> int:
    """The index of a class that is given by name or index.

    Args:
        name: or index.
        bundle: with the classes.
        trained: whether its models must have been trained with images of it.

    Raises:
        UsageError: there is no such class, or the bundle was trained without images of it.
    """
    classes = bundle.classes
    index = class_index(name, classes)
    if index is None:
        raise unknown_name("class", name, [*classes, *(["auto"] if trained else [])])
    if trained and index not in bundle.present and not bundle.is_standalone:
        known = ", ".join(classes[label] for label in bundle.present)
        raise UsageError(
            f"class {classes[index]!r}: bundle {bundle.name} was trained without images of it; choose one of {known}"
        )
    return index
