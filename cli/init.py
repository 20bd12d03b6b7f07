"""`cfx init`: a classifier and images of one's own, looked at, checked, and written down as a bundle to train."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .options import FORMATS, check_choice


def init(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the bundle, to be made.")],
    images: Annotated[
        str,
        typer.Option(
            metavar="DIR|CSV|NAME", help="Folder per class, CSV (path, label), a torchvision set, or hf:NAME."
        ),
    ],
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|CODE|NAME",
            help=".pt2, TorchScript, .onnx, module:factory, torchvision:NAME, timm:NAME, hf:NAME; "
            "without it, cfx train trains one.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Safetensors or state dict, for a classifier that is code.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line, in the order of the logits.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="CFX_DATA", help="Where torchvision's data sets lie.")
    ] = None,
    channels: Annotated[int | None, typer.Option(metavar="1|3", help="Of the classifier's input.")] = None,
    input_size: Annotated[str | None, typer.Option(metavar="HxW", help="Of the classifier's input.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="M[,M,M]", help="The classifier's normalisation.")] = None,
    std: Annotated[str | None, typer.Option(metavar="S[,S,S]", help="The classifier's normalisation.")] = None,
    scale: Annotated[float | None, typer.Option(metavar="1|255", help="What white is to the classifier.")] = None,
    order: Annotated[str | None, typer.Option(metavar="rgb|bgr", help="Of the classifier's channels.")] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="logits, probabilities, log-probabilities, sigmoid or binary-logit."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="To read images in, if not their own.")] = None,
    working: Annotated[
        int | None, typer.Option(metavar="N", help="Longer side, in pixels, that models work in; 64 for large images.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(metavar="pad|crop|stretch", help="How images of other proportions are made to fit.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Left and right do not matter: also train on mirrored.")] = False,
    format: Annotated[str, typer.Option(metavar="text|json", help="json: one object on stdout.")] = "text",
) -> None:
    """Check that a classifier and images fit together, and begin a bundle with them.

    Everything about the input is taken from the classifier's source, or found by trying which normalisation is right
    most often on labelled images; options overrule it. Next: cfx train DIR.

    Exit code 0; 1 where something looks wrong (see the warnings); 2 where it cannot work.
    """
    check_choice("format", format, FORMATS)
    given: dict[str, Any] = {
        "channels": channels,
        "size": None if input_size is None else sides("--input-size", input_size),
        "mean": None if mean is None else numbers("--mean", mean),
        "std": None if std is None else numbers("--std", std),
        "scale": scale,
        "order": order,
        "output": output,
    }
    asked_size = None if size is None else sides("--size", size)
    from .render import Screen, print_checked

    screen = Screen()
    with screen.busy("looking at classifier and images"):
        from ..memory import keep_freed_memory
        from ..training.setup import InitOptions, set_up

        keep_freed_memory()
        options = InitOptions(
            images=images,
            classifier=classifier,
            weights=weights,
            classes=classes,
            root=data,
            preprocessing={name: value for name, value in given.items() if value is not None},
            size=asked_size,
            working=working,
            resize=fit,
            flip=flip,
        )
        checked = set_up(bundle, options)
    for note in checked.notes:
        screen.note(note)
    for warning in checked.warnings:
        screen.warning(warning)
    if format == "json":
        record = {
            "directory": str(checked.directory),
            "accuracy": checked.accuracy,
            "looked_at": checked.looked_at,
            "confusions": [{"count": n, "labelled": is_, "seen": seen} for n, is_, seen in checked.confusions],
            "bundle": checked.file.as_json(),
            "notes": checked.notes,
            "warnings": checked.warnings,
        }
        screen.line(json.dumps(record, ensure_ascii=False))
    else:
        print_checked(screen.out, checked)
    raise typer.Exit(1 if checked.warnings else 0)


def sides(option: str, text: str) -> tuple[int, int]:
    """ "40x32" -> (40, 32); "64" -> (64, 64).

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(\d+)(?:\s*[x,]\s*(\d+))?", text.strip())
    height = int(found[1]) if found else 0
    width = int(found[2] or found[1]) if found else 0
    if not (height and width):
        raise UsageError(f"{option} {text!r}: write height and width in pixels, such as 40x32")
    return height, width


def numbers(option: str, text: str) -> tuple[float, ...]:
    """ "0.5" or "0.485,0.456,0.406".

    Raises:
        UsageError: something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}: write numbers with commas between, such as 0.485,0.456,0.406") from None
