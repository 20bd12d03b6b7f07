"""Classifiers as people have them: form, output, type, batch. Each is right, or refused with its sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import load_bundle
from cfx.classifiers.foreign.adapted import usable_gradients
from cfx.classifiers.foreign.contract import Foreign
from cfx.classifiers.foreign.live import open_live
from cfx.classifiers.foreign.opening import open_classifier
from cfx.errors import UsageError
from cfx.images.sets.image_set import ImageSet
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.labels import distinct
from cfx.images.sets.pictures import ArrayPictures
from cfx.intake.checking import Checked
from cfx.intake.class_matching import Matched
from cfx.intake.examining import class_names, examine
from cfx.intake.init_options import ClassifierOptions

DIGITS = tuple(str(place) for place in range(10))


class Kind(nn.Module):
    """The shipped classifier with another output; `third` and `eighth` are the two digits of a classifier of two."""

    def __init__(self, output: str = "logits") -> None:
        super().__init__()
        self.inner = load_bundle("mnist").part("classifier")
        self.output = output

    def forward(self, images: Tensor) -> Any:
        logits = self.inner(images)
        if self.output == "probabilities":
            return logits.softmax(1)
        if self.output == "log-probabilities":
            return logits.log_softmax(1)
        if self.output == "multi-label":
            return (logits.log_softmax(1) + 2).sigmoid()
        if self.output == "multi-label-logits":
            return logits.log_softmax(1) + 2
        if self.output == "sigmoid":
            return (logits[:, 8:9] - logits[:, 3:4]).sigmoid()
        if self.output == "binary-logit":
            return logits[:, 8] - logits[:, 3]
        if self.output == "tuple":
            return images, logits
        if self.output == "dict":
            return {"features": images.flatten(1), "scores": logits}
        if self.output == "(N, K, 1, 1)":
            return logits[:, :, None, None]
        if self.output == "squeezed":
            return logits.squeeze()
        if self.output == "random":
            return nn.functional.dropout(logits, 0.5, training=True)
        if self.output == "of the batch":
            return (logits - logits.mean(0, keepdim=True)) / (logits.std(0, keepdim=True) + 1e-3)
        if self.output == "images":
            return images
        return logits


def image_set(digits: tuple[Tensor, Tensor], classes: tuple[str, ...] = DIGITS) -> ImageSet:
    """The digits as a labelled set; with two classes, only the threes and eights."""
    images, labels = digits
    if len(classes) == 2:
        chosen = (labels == 3) | (labels == 8)
        images, labels = images[chosen], (labels[chosen] == 8).long()
    pictures = ArrayPictures((images * 255).round().to(torch.uint8))
    return ImageSet("digits", classes, labels, ("",) * len(labels), pictures)


def examined(
    foreign: Foreign, images: ImageSet, named: tuple[str, ...] | None = None, **options: Any
) -> tuple[Matched, Checked]:
    sample = Labelled(images.pictures.images, images.labels)[::3]
    return examine(foreign, images, sample, named, ClassifierOptions(**options))


def live(model: nn.Module, directory: Path) -> Foreign:
    return open_live(model)


def scripted(model: nn.Module, directory: Path) -> Foreign:
    torch.jit.save(
        torch.jit.trace(model, torch.rand(4, 1, 28, 28), strict=False, check_trace=False), directory / "m.pt"
    )
    return open_classifier(str(directory / "m.pt"))


def exported(model: nn.Module, directory: Path, batch: int | None = None) -> Foreign:
    dynamic = None if batch else ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(model, (torch.rand(batch or 4, 1, 28, 28),), dynamic_shapes=dynamic)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    (directory / "m.pt2").write_bytes(buffer.getvalue())
    return open_classifier(str(directory / "m.pt2"))


def of_four(model: nn.Module, directory: Path) -> Foreign:
    return exported(model, directory, batch=4)


Form = Callable[[nn.Module, Path], Foreign]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of classifier, and what is said about it.

    Attributes:
        form, output: how it is stored, and what it returns.
        classes: of the images.
        options: what the user says.
        accuracy: the least accuracy expected.
        note: a part of a note.
    """

    form: Form
    output: str
    classes: tuple[str, ...] = DIGITS
    options: tuple[tuple[str, Any], ...] = ()
    accuracy: float = 0.95
    note: str = ""


RIGHT = [
    *(Row(form=form, output="logits") for form in (live, scripted, exported, of_four)),
    *(
        Row(form=form, output=output, note=f"output is taken as {output}")
        for form in (live, scripted)
        for output in ("probabilities", "log-probabilities")
    ),
    *(
        Row(form=form, output=output, classes=("three", "eight"), note=f"output is taken as {output}")
        for form in (live, scripted, exported)
        for output in ("sigmoid", "binary-logit")
    ),
    *(
        Row(form=form, output="tuple", note="1 is taken, because it has 10 columns, one for each class")
        for form in (live, scripted, exported)
    ),
    Row(form=live, output="dict", note="scores is taken, because it has 10 columns, one for each class"),
    Row(form=live, output="dict", options=(("preprocessing", {"output_index": "scores"}),)),
    Row(form=exported, output="tuple", options=(("preprocessing", {"output_index": 1}),)),
    *(Row(form=form, output="(N, K, 1, 1)") for form in (live, scripted)),
    *(Row(form=form, output="squeezed", note="takes two images or more, not one") for form in (live, scripted)),
    Row(
        form=live, output="multi-label", classes=("not 8", "8"), options=(("label", "8"),), note="the label '8'"
    ),
    Row(
        form=live, output="multi-label-logits", classes=("not 8", "8"), accuracy=0.9,
        options=(("label", "8"), ("preprocessing", {"output": "multi-label-logits"})), note="the label '8'",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", RIGHT, ids=lambda row: f"{row.form.__name__}-{row.output}-{row.options}")
def test_a_kind_of_classifier_is_right(row: Row, digits: tuple[Tensor, Tensor], tmp_path: Path):
    foreign = row.form(Kind(row.output).eval(), tmp_path)
    matched, checked = examined(foreign, image_set(digits, row.classes), **dict(row.options))
    assert checked.accuracy >= row.accuracy and not checked.warnings
    assert set(matched.classes) == set(row.classes)
    assert not row.note or any(row.note in note for note in checked.notes)
    alone, together = (checked.classifier(digits[0][:count]) for count in (1, 3))
    assert alone.shape == (1, len(row.classes)) and torch.allclose(alone, together[:1], atol=1e-4)


REFUSED = [
    (live, "random", {}, "different answers when they are asked about twice .* uses random numbers"),
    (scripted, "random", {}, "different answers when they are asked about twice .* export it again after model.eval"),
    (live, "of the batch", {}, "different answers alone and in a batch; .* the statistics of the batch"),
    (scripted, "of the batch", {}, "alone and in a batch; .* batch norm was left in training mode: export it again"),
    (live, "multi-label", {}, "they are independent labels; choose one with --label: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    (live, "multi-label", {"label": "ten"}, "unknown label 'ten'"),
    (live, "multi-label", {"label": "8"}, "the classes are '8' and 'not 8', and the images have 0, 1, 2, 3, 4"),
    (live, "logits", {"label": "8"}, "--label 8: the output .* is taken as logits of one class among several"),
    (live, "images", {}, r"it returns \(N, 1, 28, 28\) for N images; cfx needs one row of numbers"),
    (live, "tuple", {"output_index": 0}, r"it returns \(N, 1, 28, 28\) .* outputs 0 \(N, 1, 28, 28\), 1 \(N, 10\)"),
    (live, "tuple", {"output_index": 2}, "--output-index 2: the classifier has no such output"),
    (live, "dict", {"output_index": "features"}, r"its 784 values range .* of its outputs features \(N, 784\), scores"),
    (live, "logits", {"output": "probabilities"}, "--output probabilities: not what .* it looks like logits"),
    (live, "logits", {"output": "log-probabilities"}, "--output log-probabilities: not what .* exponentials sum to"),
    (live, "binary-logit", {"output": "sigmoid"}, "--output sigmoid: not what .* it looks like binary-logit"),
    (live, "logits", {"mean": (72.9,)}, "units of 0 to 255, .* add --scale 255, or give --mean 0.286"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "output", "said", "sentence"), REFUSED, ids=lambda value: getattr(value, "__name__", str(value)[:30])
)
def test_a_kind_of_classifier_is_refused(
    form: Form, output: str, said: dict[str, Any], sentence: str, digits: tuple[Tensor, Tensor], tmp_path: Path
):
    label = said.get("label")
    preprocessing = {name: value for name, value in said.items() if name != "label"}
    with pytest.raises(UsageError, match=sentence):
        examined(form(Kind(output).eval(), tmp_path), image_set(digits), preprocessing=preprocessing, label=label)


@pytest.mark.parametrize(
    ("form", "remedy"), [(live, r"call model\.float\(\)$"), (scripted, r"call model\.float\(\) before exporting it$")]
)
def test_weights_of_half_precision_are_refused_by_their_type(form: Form, remedy: str, digits, tmp_path: Path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10)).eval()
    foreign = form(model, tmp_path)
    foreign.model.half()
    with pytest.raises(UsageError, match=f"because its weights are float16 and images are float32; {remedy}"):
        examined(foreign, image_set(digits))


def test_a_model_in_memory_is_left_as_it_was(digits: tuple[Tensor, Tensor]):
    model = nn.Sequential(nn.Dropout(0.9), Kind()).train()
    model[1].eval()
    seen: list[bool] = []
    handle = model.register_forward_hook(lambda *_: seen.append(model[0].training))
    before = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    _, checked = examined(open_live(model), image_set(digits))
    assert checked.accuracy > 0.95, "dropout is off while cfx asks"
    assert [(module.training, len(module._forward_hooks)) for module in model.modules()] == before
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted and set(seen) == {False}
    handle.remove()


# Saturation.


@pytest.mark.parametrize("form", [live, scripted, exported])
def test_a_saturated_softmax_is_left_out(form: Form, digits: tuple[Tensor, Tensor], tmp_path: Path):
    class Certain(Kind):
        def forward(self, images: Tensor) -> Tensor:
            return (60 * super().forward(images)).softmax(1)

    own = Certain().eval()
    _, checked = examined(form(own, tmp_path), image_set(digits))
    assert any("searches use the logits in front of the classifier's last softmax" in note for note in checked.notes)
    foreign = checked.entry.foreign
    assert foreign is not None and foreign.activation == "softmax" and not foreign.saturated
    assert foreign.preprocessing is not None and foreign.preprocessing.output == "logits"
    assert torch.allclose(checked.classifier(digits[0]).softmax(1), own(digits[0]), atol=1e-4)
    assert usable_gradients(checked.classifier, digits[0][:16]).all()


def test_saturation_that_cannot_be_removed_is_said(digits: tuple[Tensor, Tensor]):
    class Certain(Kind):
        def forward(self, images: Tensor) -> Tensor:
            shares = (60 * super().forward(images)).softmax(1) * 1.0
            return shares / shares.sum(1, keepdim=True)  # whose logits cannot be told

    _, checked = examined(open_live(Certain().eval()), image_set(digits))
    foreign = checked.entry.foreign
    assert foreign is not None and foreign.activation is None
    assert not foreign.differentiable or 0 < foreign.saturated < 1
    assert any("its gradient is zero" in note or "has no gradients" in note for note in checked.notes)


# The classes.


def test_the_other_classes_are_single_classes(digits: tuple[Tensor, Tensor]):
    """Ten classes of 1,000: what counts is the most probable single class, not the sum of 990 others."""

    class Wide(Kind):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images).log_softmax(1)
            rest = logits.new_full((len(logits), 990), -5.0)  # each at less than a tenth of the most probable digit's
            return torch.cat([rest, logits], dim=1)

    names = (*(f"thing {place}" for place in range(990)), *DIGITS)
    images = image_set(digits)
    matched, checked = examined(open_live(Wide().eval()), images, names)
    assert checked.accuracy > 0.95 and not checked.warnings
    assert matched.classes == names and matched.labels == (*DIGITS, "(anything else)")
    probabilities = checked.classifier(digits[0]).softmax(1)
    assert float(probabilities[:, :990].sum(1).mean()) > 0.8, "the sum of the others exceeds every digit"
    condition = matched.labelling.condition(probabilities)
    assert condition.shape == (400, 11) and torch.allclose(condition.sum(1), torch.ones(400), atol=1e-5)
    assert torch.equal(condition[:, :10], probabilities[:, 990:])
    mine, among = examined(open_live(Wide().eval()), images, names, among=True)
    assert mine.classes == mine.labels == DIGITS
    assert torch.allclose(among.classifier(digits[0]).softmax(1), Kind().eval()(digits[0]).softmax(1), atol=1e-4)


def test_names_that_occur_twice_are_told_apart_by_their_index():
    assert distinct(["crane", "dog", "crane"]) == ("crane (0)", "dog", "crane (2)")
    assert len(class_names(Path("imagenet")) or ()) == 1000


@pytest.mark.parametrize(
    ("order", "suggested"), [((1, 0), "eight, three"), ((1, 2, 0), "")], ids=["swapped", "three classes, rotated"]
)
def test_a_better_order_of_the_classes_is_suggested(order: tuple[int, ...], suggested: str, digits):
    class Ordered(Kind):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)[:, [3, 8, 5][: len(order)]]
            return logits[:, list(order)]

    images, labels = digits
    chosen = (labels == 3) | (labels == 8) | ((labels == 5) & (len(order) == 3))
    classes = ("three", "eight", "five")[: len(order)]
    place = torch.full((10,), 0)
    place[8], place[5] = 1, 2
    pictures = ArrayPictures((images[chosen] * 255).round().to(torch.uint8))
    labelled = ImageSet("digits", classes, place[labels[chosen]], ("",) * int(chosen.sum()), pictures)
    _, checked = examined(open_live(Ordered().eval()), labelled)
    suggested = ", ".join(classes[at] for at in order)
    (warning,) = checked.warnings
    assert f"if the classes are {suggested}: give that order with --classes FILE" in warning
    _, right = examined(open_live(Ordered().eval()), labelled, tuple(classes[at] for at in order))
    assert right.accuracy > 0.95 and not right.warnings


def test_a_class_that_is_never_predicted_is_warned_of(digits: tuple[Tensor, Tensor]):
    class Never(Kind):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.cat([logits[:, :9], logits[:, 9:] - 100], dim=1)

    _, checked = examined(open_live(Never().eval()), image_set(digits))
    assert any("a class is never predicted: '9' (" in warning for warning in checked.warnings)


def test_no_normalisation_is_adopted_because_it_is_less_wrong(digits: tuple[Tensor, Tensor]):
    """A classifier of other classes, right on hardly any image whatever its input is scaled to."""
    images = image_set(digits)
    shifted = replace(images, labels=(images.labels + 5) % 10)
    _, checked = examined(open_live(Kind().eval()), shifted)
    assert not any("it is used" in note for note in checked.notes)
    assert any("if the classes are 5, 6, 7, 8, 9, 0, 1, 2, 3, 4" in warning for warning in checked.warnings)
