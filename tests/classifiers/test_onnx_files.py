"""The files with an ONNX model's weights are found under any name, inside of its folder; and NHWC is transposed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cfx.bundles.bundle import load_bundle
from cfx.classifiers.foreign.onnx_files import data_files
from cfx.classifiers.foreign.opening import open_classifier
from cfx.classifiers.foreign.programs import declared_shape
from cfx.errors import BundleError, UsageError
from cfx.files import is_inner
from cfx.intake.init_options import InitOptions
from cfx.training import setup

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE = 16


class Last(nn.Module):
    """The network with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.permute(0, 3, 1, 2))


def network() -> nn.Sequential:
    """Sees which half is lighter."""
    model = nn.Sequential(nn.Conv2d(3, 2, (SIDE, SIDE), bias=False), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.fill_(0.02)
        model[0].weight[0, :, :, : SIDE // 2] = -0.02
        model[0].weight[1, :, :, SIDE // 2 :] = -0.02
    return model


def exported(path: Path, model: nn.Module, shape: tuple[int, ...] = (2, 3, SIDE, SIDE)) -> Path:
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    torch.onnx.export(model, (torch.rand(shape),), str(path), dynamo=False, input_names=["x"], output_names=["y"],
                      dynamic_axes=axes)  # fmt: skip
    return path


def with_data(root: Path, location: str, **how: object) -> Path:
    """A model in the folder `model`, whose weights are in another file."""
    plain = exported(root / "plain.onnx", network())
    path = root / "model" / "model.onnx"
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(onnx.load(plain), path, save_as_external_data=True, location=location, size_threshold=0, **how)
    return path


def labelled(root: Path) -> Path:
    for side, name in enumerate(("right", "left")):
        (root / name).mkdir(parents=True)
        for number in range(20):
            values = np.random.default_rng(number).integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
            half = slice(0, SIDE // 2) if side else slice(SIDE // 2, SIDE)
            values[:, half] += 120
            Image.fromarray(values).save(root / name / f"{number}.png")
    (root.parent / "names.txt").write_text("right\nleft\n")
    return root


LOCATIONS = ["model.onnx_data", "model.onnx.data", "weights", "parts/of it/w.bin", "classifier.safetensors"]


@pytest.mark.parametrize("location", LOCATIONS)
def test_data_under_any_name(location: str, tmp_path: Path) -> None:
    assert data_files(with_data(tmp_path, location)) == {location: tmp_path / "model" / location}


def test_a_file_for_each_tensor(tmp_path: Path) -> None:
    plain = onnx.load(exported(tmp_path / "plain.onnx", nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())))
    onnx.save_model(plain, tmp_path / "m.onnx", save_as_external_data=True, all_tensors_to_one_file=False,
                    size_threshold=0)  # fmt: skip
    assert len(data_files(tmp_path / "m.onnx")) == 2
    assert data_files(tmp_path / "plain.onnx") == {}


@pytest.mark.parametrize("location", ["model.onnx_data", "deep/down/weights"])
def test_a_bundle_with_data_opens_as_it_was_written(location: str, tmp_path: Path) -> None:
    path, images = with_data(tmp_path, location), labelled(tmp_path / "set")
    bundle = tmp_path / "bundle"
    report = setup.set_up(bundle, InitOptions(classifier=str(path), images=str(images), classes=tmp_path / "names.txt"))
    assert report.accuracy == 1.0
    shutil.rmtree(path.parent)
    assert (bundle / location).is_file()
    image = torch.rand(2, 3, SIDE, SIDE)
    seen = load_bundle(str(bundle)).classifier(image).argmax(dim=1)  # init may have found a normalisation
    assert torch.equal(seen, network()(image).argmax(dim=1))


def test_a_bundle_that_does_not_open_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, images = exported(tmp_path / "m.onnx", network()), labelled(tmp_path / "set")
    options = InitOptions(classifier=str(path), images=str(images), classes=tmp_path / "names.txt")

    def damaged(*arguments: object) -> tuple[object, list[str]]:
        written = wanted(*arguments)  # pyright: ignore[reportArgumentType]
        (tmp_path / "bundle" / "classifier.onnx").write_bytes(b"damaged")
        return written

    wanted = setup.write
    monkeypatch.setattr(setup, "write", damaged)
    with pytest.raises(BundleError, match=r"the new bundle cannot be opened: .*classifier\.onnx is not the file"):
        setup.set_up(tmp_path / "bundle", options)
    assert os.listdir(tmp_path / "bundle") == []


def moved(path: Path, location: str) -> Path:
    """The model with another name for its data."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret", "C:\\secret", "..\\secret"])
def test_data_outside_of_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    path = moved(with_data(tmp_path, "w"), location)
    with pytest.raises(UsageError, match=r"model\.onnx: names .* which is outside of the model's folder"):
        open_classifier(str(path))
    assert not is_inner(location)


def test_a_link_out_of_the_folder_is_refused_but_for_downloads(tmp_path: Path) -> None:
    path = with_data(tmp_path, "w")
    (tmp_path / "blobs").mkdir()
    (path.parent / "w").rename(tmp_path / "blobs" / "w")
    (path.parent / "w").symlink_to(tmp_path / "blobs" / "w")
    with pytest.raises(UsageError, match="outside of the model's folder"):
        data_files(path)
    path.rename(tmp_path / "blobs" / "m")
    path.symlink_to(tmp_path / "blobs" / "m")
    assert list(data_files(path)) == ["w"]


def test_data_that_are_missing_or_would_be_overwritten(tmp_path: Path) -> None:
    path = with_data(tmp_path, "w")
    (path.parent / "w").unlink()
    with pytest.raises(UsageError, match="its weights are in w, which is not there; copy it beside the model"):
        open_classifier(str(path))
    (path.parent / "Bundle.toml").write_bytes(b"")
    with pytest.raises(UsageError, match="a name that a bundle needs"):
        data_files(moved(path, "Bundle.toml"))


# Channels last


def test_onnx_of_tensorflow_is_transposed(tmp_path: Path) -> None:
    foreign = open_classifier(str(exported(tmp_path / "m.onnx", Last().eval(), (2, SIDE, SIDE, 3))))
    assert foreign.preprocessing is not None
    assert (foreign.preprocessing.channels, foreign.preprocessing.size) == (3, (SIDE, SIDE))
    assert foreign.notes == (
        "m.onnx: takes images as (N, H, W, C), as models of TensorFlow do: they are transposed for it",
    )
    images = torch.rand(4, 3, SIDE, SIDE)
    found = foreign.model(images)
    found = next(iter(found.values())) if isinstance(found, dict) else found
    assert torch.allclose(found, network()(images), atol=1e-4)


def test_a_program_with_the_channels_last_is_transposed(tmp_path: Path) -> None:
    program = torch.export.export(
        Last().eval(), (torch.rand(2, SIDE, SIDE, 3),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, tmp_path / "m.pt2")
    foreign = open_classifier(str(tmp_path / "m.pt2"))
    images = torch.rand(4, 3, SIDE, SIDE)
    assert torch.allclose(foreign.model(images), network()(images), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 8, 8, 4), ("n", "c", "h", "w"), (1, 3, 8)])
def test_other_shapes_name_the_remedy(shape: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match=r"m: its input is .*; cfx needs .* tf2onnx --inputs-as-nchw INPUT"):
        declared_shape(shape, "m")
