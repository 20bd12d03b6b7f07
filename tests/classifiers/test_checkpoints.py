"""Weights are found under whatever names training has given them; what the model does not have is named or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfx.classifiers.foreign.checkpoints import load_weights, read_weights
from cfx.errors import UsageError


class Network(nn.Module):
    """Has modules, numbered layers, batch norm, and a buffer that is not stored."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.head = nn.Linear(2, classes)
        self.register_buffer("position", torch.arange(3), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


def state(seed: int = 1) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return Network().state_dict()


def loaded(checkpoint: Mapping[str, Any], path: Path, model: nn.Module | None = None) -> tuple[str, ...]:
    """Save, read and load a checkpoint, check the model, and return the notes."""
    torch.save(checkpoint, path)
    model = Network() if model is None else model
    notes = load_weights(model, read_weights(path), path.name)
    for own, wanted in zip(model.state_dict().values(), state().values(), strict=True):
        assert torch.equal(own, wanted)
    return notes


def renamed(prefix: str, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in (tensors or state()).items()}


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "module._orig_mod.", "_orig_mod.module.", "model.module.", "module.module."),
        *("net._orig_mod.model.", "_forward_module.model.", "_fsdp_wrapped_module.", "backbone.", "learner.my_net."),
    ],
)
def test_prefixes_in_any_order(prefix: str, tmp_path: Path) -> None:
    assert loaded(renamed(prefix), tmp_path / "w.pth") == ()


def test_parts_of_a_model_that_were_wrapped(tmp_path: Path) -> None:
    inner = {name.replace("features.", "features._orig_mod."): tensor for name, tensor in state().items()}
    inner = {name.replace("head.", "head._checkpoint_wrapped_module."): tensor for name, tensor in inner.items()}
    assert loaded(inner, tmp_path / "w.pth") == ()


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model)])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_wrapped_model_takes_bare_weights(wrap: Any, prefix: str, tmp_path: Path) -> None:
    assert loaded(renamed(prefix), tmp_path / "w.pth", wrap(Network())) == ()


@pytest.mark.parametrize(
    ("checkpoint", "named"),
    [
        ({"state_dict": {**renamed("model."), "criterion.weight": torch.ones(4)}, "epoch": 3}, "criterion.weight"),
        ({**renamed("module."), "n_averaged": torch.tensor(5)}, "n_averaged"),
        ({"model": {**state(), "aux_head.weight": torch.ones(2)}}, "aux_head.weight"),
        ({**renamed("model."), **renamed("ema_model.", state(2))}, "ema_model.features.0.weight"),
        ({"net": renamed("encoder."), "optimizer": {"state": {}}, "step": 1}, ""),
        ({"hyper": {"lr": 0.1}, "weights_of_it": {**state(), "version": 2}}, ""),
        ({"checkpoint": {"state_dict": state()}, "args": {"lr": 0.1}}, None),
    ],
)
def test_what_is_beside_the_weights_is_left_out(checkpoint: dict[str, Any], named: str | None, tmp_path: Path) -> None:
    if named is None:  # nothing says which of the mappings is the checkpoint
        with pytest.raises(UsageError, match="contains no weights"):
            loaded(checkpoint, tmp_path / "w.ckpt")
        return
    notes = loaded(checkpoint, tmp_path / "w.ckpt")
    if named:
        assert notes[0].startswith(f"w.ckpt: left out, because the model has no such tensors: {named}")
    else:
        assert notes == ()


def test_counts_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    old = {name: tensor for name, tensor in state().items() if not name.endswith("num_batches_tracked")}
    assert loaded(old, tmp_path / "w.pth") == ()
    assert loaded({**state(), "features.0.num_batches_tracked": torch.tensor(1)}, tmp_path / "w.pth")


def test_a_buffer_that_is_computed_may_be_stored(tmp_path: Path) -> None:
    assert loaded({**state(), "position": torch.arange(3)}, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ({**state(), "features.3.weight": torch.ones(2)}, "not in the model: features.3.weight"),
        ({**renamed("model."), "model.head.extra.weight": torch.ones(2)}, "not in the model: model.head.extra.weight"),
        ({**renamed("student."), **renamed("teacher.")}, r"holds the model 2 times, under \w+\., \w+\.; save the one"),
        ({"other.weight": torch.ones(2)}, "it is of another model: give the weights of this one"),
        (Network(5).state_dict(), "other shapes: .*; the model must be made with the number of classes that"),
        ({k: v for k, v in state().items() if k != "head.bias"}, "missing head.bias.*give the weights of exactly this"),
    ],
)  # fmt: skip
def test_another_model_is_refused(checkpoint: dict[str, Tensor], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"w.pth: .*{said}"):
        loaded(checkpoint, tmp_path / "w.pth")


def test_numbered_layers_are_of_the_model(tmp_path: Path) -> None:
    torch.save(
        {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2), "1.weight": torch.ones(2, 2)}, tmp_path / "w.pth"
    )
    with pytest.raises(UsageError, match=r"not in the model: 1.weight"):
        load_weights(nn.Sequential(nn.Linear(2, 2)), read_weights(tmp_path / "w.pth"), "w.pth")
