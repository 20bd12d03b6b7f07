"""A live model and the state of the process belong to the program: cfx puts both back, and is not disturbed by them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import Tensor, nn

import cfx
from cfx.answers import explain as module
from cfx.classifiers.foreign.adapted import Adapted
from cfx.classifiers.foreign.live import identity_of, open_live
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.classifiers.introspection.frozen import frozen_eval

SIDE = 8


class Network(nn.Module):
    """With batch norm, dropout and a buffer that each call changes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.drop, self.head = nn.BatchNorm2d(3), nn.Dropout(), nn.Linear(3 * SIDE * SIDE, 4)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.drop(self.norm(images)).flatten(1))


def explained(model: nn.Module, images: Any = None, **given: Any) -> list[cfx.Answer]:
    photo = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    known = {"preprocessing": {"channels": 3, "size": (SIDE, SIDE)}, "engine": "pixel", "target": 1, "metrics": []}
    return list(cfx.explain(photo if images is None else images, classifier=model, **{**known, **given}))


@pytest.mark.parametrize(
    "state",
    [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu"), lambda: torch.device("meta"),
     lambda: np.errstate(all="raise")],
)  # fmt: skip
def test_what_the_program_has_set_changes_no_answer(state: Callable[[], AbstractContextManager[object]]):
    model = Network().eval()
    (expected,) = explained(model)
    with state():
        (answer,) = explained(model)
    assert answer.target_confidence == expected.target_confidence


def test_a_half_read_iterator_leaves_the_programs_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cfx.answers.explanation.BATCH_SIZE", 1)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    model, seen = Network().train(), []

    def state() -> tuple[object, ...]:
        switches = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        return torch.get_default_dtype(), torch.is_grad_enabled(), model.training, model.norm.training, *switches

    def images():
        for _ in range(3):
            seen.append(state())
            yield np.zeros((SIDE, SIDE, 3), np.uint8)

    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            before = state()
            given = {"preprocessing": {"channels": 3}, "engine": "pixel", "target": 1, "metrics": []}
            for _ in cfx.explain(images(), classifier=model, **given):
                seen.append(state())
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(seen) == 6 and set(seen) == {before}


def test_threads_that_share_a_model_leave_it_as_it_was():
    model = Network().train()
    model.drop.eval()
    (alone,) = explained(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(5):
        found: list[Any] = []
        threads = [Thread(target=lambda: found.extend(explained(model))) for _ in range(3)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.target_confidence for answer in found] == [alone.target_confidence] * 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and model.norm.training and not model.drop.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_last_borrower_puts_a_model_back():
    model = Network().train()
    with frozen_eval(model):
        with frozen_eval(model.norm):
            model.norm.running_mean += 1  # pyright: ignore[reportOperatorIssue]
        assert not model.norm.training
    assert model.norm.training and not model.norm.running_mean.any()  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("fixed", [None, 1, 2])
def test_a_model_that_changes_its_input_changes_no_image(fixed: int | None):
    class InPlace(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mul_(2).sub_(1).flatten(1)[:, :4]

    adapted = Adapted(InPlace(), Preprocessing(3), fixed_batch=fixed)
    images = torch.rand(3, 3, SIDE, SIDE)
    before = images.clone()
    given = images.requires_grad_()
    (gradient,) = torch.autograd.grad(adapted(given).sum(), given)
    assert torch.equal(images, before) and gradient.ne(0).any()
    torch.testing.assert_close(adapted(images), (2 * before - 1).flatten(1)[:, :4])


@pytest.mark.parametrize("kind", [torch.qint8, torch.float16])
def test_a_quantised_model_answers_and_each_image_as_alone(kind: torch.dtype):
    model = torch.ao.quantization.quantize_dynamic(Network().eval(), {nn.Linear}, dtype=kind)
    foreign = open_live(model)
    adapted = Adapted(foreign.model, Preprocessing(3), fixed_batch=foreign.fixed_batch)
    images = torch.rand(3, 3, SIDE, SIDE)
    assert torch.equal(adapted(images)[1:2], adapted(images[1:2]))
    assert identity_of(model, "x") == identity_of(deepcopy(model), "x") != identity_of(Network(), "x")


class TwoImages(Network):
    def forward(self, images: Tensor, others: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(images + others)


class Table(Network):
    def forward(self, batch: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(batch.get("pixels"))


class Broken(Network):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).of_no_such_name  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (TwoImages(), r"takes \(images, others\)"),
        (Table(), "a dict with the key 'pixels'"),
        (Broken(), "fails on any image"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), "channels and size in preprocessing"),
        (Network, "is the class Network"),
    ],
)
def test_words_fit_what_is_wrong_with_a_model(model: Any, says: str):
    with pytest.raises(cfx.CfxError, match=says) as caught:
        explained(model)
    assert "--input-size" not in str(caught.value)


def test_a_fork_that_would_wait_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(module, "_calculated_in", {1})
    with pytest.raises(cfx.CfxError, match=r"forked.*spawn"):
        explained(Network())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert explained(Network())
