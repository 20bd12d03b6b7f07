"""What `cfx init` says about images that cannot be read, and which classes cannot do without them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import DataError, few
from ..images.sets.image_set import ImageSet, Loaded
from ..images.sets.split import Split
from ..images.sets.survey import Survey
from ..images.sets.unreadable import SHARE_BROKEN, first_of, lost_classes, too_many


@dataclass(frozen=True)
class Unreadable:
    """The images that are left out because they cannot be read.

    Attributes:
        lost: the classes that have too few others.
        warnings: how many are left out, by which rule, and the first of them.
    """

    lost: tuple[int, ...]
    warnings: tuple[str, ...]


def find_unreadable(images: ImageSet, split: Split[Tensor], survey: Survey, loaded: Loaded) -> Unreadable:
    """Collect the images that a survey and a sample could not read, and the files that do not exist.

    Only these are known; `cfx train` leaves out the others that it cannot read, by the same rule.

    Raises:
        DataError: they are more than may be left out, or no class has enough others.
    """
    found = {**dict(zip(survey.unreadable, survey.broken, strict=True))}
    found |= dict(zip(loaded.unreadable, loaded.broken, strict=True))
    looked_at = len({*survey.sampled, *loaded.indices.tolist(), *loaded.unreadable})
    if not images.skip_unreadable and too_many(len(found), looked_at):
        raise DataError(images.refusal([*found.values()], looked_at))
    missing = [] if images.missing is None else [*images.missing.lines]
    lost = lost_classes(images.labels, split, {*found, *missing})
    if len(lost) + len(split.too_few) == len(images.classes):
        raise DataError(f"{images.name}: no class has enough images that can be read; repair or restore them")
    warnings = [] if images.missing is None else [images.missing.warning()]
    if found:
        rule = (
            "as --skip-unreadable says"
            if images.skip_unreadable
            else f"up to {100 * SHARE_BROKEN:.0f} % may be; --skip-unreadable leaves out any number"
        )
        warnings.append(
            f"{len(found)} of {looked_at} images looked at cannot be read and {'is' if len(found) == 1 else 'are'} "
            f"left out ({rule}): {first_of([*found.values()])}"
        )
    if lost:
        names = few([images.classes[label] for label in lost])
        warnings.append(f"classes with too few images that can be read, which cannot be targets: {names}")
    return Unreadable(tuple(lost), tuple(warnings))
