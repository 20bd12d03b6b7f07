"""Classifiers in files that contain the whole model: torch.export programs, TorchScript, ONNX."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError, first_line
from .adapted import set_eval_mode
from .archives import clean_program, clean_script
from .contract import STEM, Foreign, optional
from .onnx_files import data_files
from .outputs import outputs_of
from .placing import placed
from .preprocessing import Preprocessing

LARGEST_BATCH = 512  # images; larger batches are no faster, and a program may have a limit
# Operator -> position of the argument that switches to batch statistics.
TRAINED_BY = {"dropout": 2, "batch_norm": 5, "native_dropout": 2, "instance_norm": 5}


def open_program(path: Path) -> Foreign:
    """Opens a program of `torch.export.save` without running code from the file (see archives.py).

    Raises:
        UsageError: the file is damaged, was made by an incompatible torch, does not take exactly one image batch, or
            could run code.
    """
    content = clean_program(path.read_bytes(), str(path))
    try:
        with weights_only():
            program = torch.export.load(io.BytesIO(content))
    except Exception as error:  # torch raises many types: KeyError, AssertionError, UnpicklingError
        raise UsageError(
            f"{path}: torch {torch.__version__} could not load it ({first_line(error)}); "
            "export it again with this torch, from plain operators and tensors"
        ) from error
    shape, notes = channels_first(_input_shape(program, path), path.name)
    _check_mode(program, path)
    # Guards are text that torch would execute, and the shape is checked here anyway.
    has_guards = "check_guards" in inspect.signature(program.module).parameters  # since torch 2.9
    module = placed(program.module(check_guards=False) if has_guards else program.module(), "cpu")
    module = ChannelsLast(module) if notes else module
    set_eval_mode(module)
    preprocessing, declared = declared_shape(shape, str(path))
    batch = shape[0] if isinstance(shape[0], int) else _bound(program, shape[0])
    return Foreign(
        module, "pt2", path.name, preprocessing, declared,
        files={f"{STEM}.pt2": path}, fixed_batch=batch, notes=notes,
    )  # fmt: skip


def open_script(path: Path) -> Foreign:
    """Opens a TorchScript archive, as long as torch supports them.

    Raises:
        UsageError: the file is damaged, was made by a newer torch, or contains code that accesses files.
    """
    content = clean_script(path.read_bytes(), str(path))
    try:
        model = placed(torch.jit.load(io.BytesIO(content), map_location="cpu"), "cpu")
    except Exception as error:
        raise UsageError(
            f"{path}: torch {torch.__version__} could not load this TorchScript ({first_line(error)}); "
            "export the model with torch.export.save instead"
        ) from error
    set_eval_mode(model)
    return Foreign(model, "torchscript", path.name, files={f"{STEM}.torchscript": path})


class ChannelsLast(nn.Module):
    """A model that takes images (N, H, W, C), as models of TensorFlow do, for images (N, C, H, W)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        """inputs (N, C, H, W) -> the model's outputs."""
        return self.model(inputs.permute(0, 2, 3, 1).contiguous())


class NamedOutputs(nn.Module):
    """Gives the outputs of a model, a tensor or a tuple, their names."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """inputs (N, ...) -> the outputs (N, ...) by name."""
        return dict(zip(self.names, outputs_of(self.model(inputs)).values(), strict=True))


class OnnxSession(nn.Module):
    """An ONNX model run by onnxruntime: a black box, on the CPU."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session
        self.input = session.get_inputs()[0].name
        self.outputs = [output.name for output in session.get_outputs()]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """inputs (N, ...), in the model's format -> its outputs (N, ...) by name, without a gradient."""
        found = self.session.run(None, {self.input: inputs.detach().cpu().numpy()})
        return {name: torch.from_numpy(each) for name, each in zip(self.outputs, found, strict=True)}


def open_onnx(path: Path) -> Foreign:
    """Opens an ONNX model: with gradients if onnx2torch is installed and converts it correctly, else as a black box.

    Raises:
        UsageError: onnxruntime is missing or cannot read the file, or the model does not take one image batch.
    """
    onnxruntime = optional(str(path), "onnxruntime")
    data = data_files(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base class
        raise UsageError(f"{path}: onnxruntime could not load it ({first_line(error)}); export it again") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        got = ", ".join(f"{entry.name} {entry.type}" for entry in inputs)
        raise UsageError(f"{path}: takes {got}; cfx needs a classifier with one float32 image batch as its input")
    shape, notes = channels_first(tuple(inputs[0].shape), path.name)
    preprocessing, declared = declared_shape(shape, str(path))
    batch = shape[0] if isinstance(shape[0], int) else None
    box: nn.Module = ChannelsLast(OnnxSession(session)) if notes else OnnxSession(session)
    outputs = [output.name for output in session.get_outputs()]
    converted = _with_gradients(path, box, outputs, preprocessing, batch, channels_last=bool(notes))
    return Foreign(
        converted or box, "onnx", path.name, preprocessing, declared,
        files={f"{STEM}.onnx": path, **data}, fixed_batch=batch, differentiable=converted is not None, notes=notes,
    )  # fmt: skip


def _with_gradients(
    path: Path,
    box: nn.Module,
    outputs: Sequence[str],
    preprocessing: Preprocessing,
    batch: int | None,
    *,
    channels_last: bool,
) -> nn.Module | None:
    """The model converted by onnx2torch; None if that fails or its output differs from that of onnxruntime."""
    try:
        convert = import_module("onnx2torch").convert
    except ImportError:
        return None
    height, width = preprocessing.size or (64, 64)
    images = torch.linspace(0, 1, (batch or 2) * preprocessing.channels * height * width)
    images = images.reshape(batch or 2, preprocessing.channels, height, width)
    try:
        with torch.no_grad():
            model: nn.Module = NamedOutputs(convert(str(path)).eval(), outputs)
            model = ChannelsLast(model) if channels_last else model
            found, wanted = model(images), box(images)
            same = all(torch.allclose(found[name], wanted[name], rtol=1e-3, atol=1e-3) for name in outputs)
    except Exception:  # onnx2torch supports operators up to some opset, and fails in many ways beyond it
        return None
    return model if same else None


def channels_first(shape: tuple[Any, ...], name: str) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """An input shape as (N, C, H, W), and a note if the model takes (N, H, W, C), so that images are transposed."""
    if len(shape) != 4 or shape[1] in (1, 3) or shape[3] not in (1, 3):
        return shape, ()
    batch, height, width, channels = shape
    note = f"{name}: takes images as (N, H, W, C), as models of TensorFlow do: they are transposed for it"
    return (batch, channels, height, width), (note,)


def declared_shape(shape: tuple[Any, ...], where: str) -> tuple[Preprocessing, tuple[str, ...]]:
    """Derives the preprocessing, and the fields that are declared, from an input shape (N, C, H, W).

    Free dimensions of the shape are anything but an int.

    Raises:
        UsageError: the shape is not that of a batch of grey or colour images.
    """
    if len(shape) != 4 or shape[1] not in (1, 3):
        got = ", ".join(str(side) if isinstance(side, int) else "any" for side in shape)
        raise UsageError(
            f"{where}: its input is ({got}); cfx needs (N, C, H, W) or (N, H, W, C) with 1 or 3 channels: export it "
            "with their number, and from TensorFlow with tf2onnx --inputs-as-nchw INPUT"
        )
    _, channels, height, width = shape
    if isinstance(height, int) and isinstance(width, int):
        return Preprocessing(channels, (height, width)), ("channels", "size")
    return Preprocessing(channels), ("channels",)


def _input_shape(program: torch.export.ExportedProgram, path: Path) -> tuple[Any, ...]:
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].dtype != torch.float32:
        raise UsageError(
            f"{path}: takes {len(names)} inputs, or one that is not float32; cfx needs one float32 image batch"
        )
    return tuple(values[0].shape)


def _bound(program: torch.export.ExportedProgram, batch: Any) -> int | None:
    """The batch size to use for a program that limits its batch size to a narrow range, or None."""
    limits = program.range_constraints.get(batch.node.expr)
    if limits is None:
        return None
    if limits.upper < 2**31:  # torch gives an unlimited size as a much larger number
        return min(int(limits.upper), LARGEST_BATCH)
    return int(limits.lower) if limits.lower > 2 else None  # torch reports a lower limit of 2 for 1, and accepts 1


def _check_mode(program: torch.export.ExportedProgram, path: Path) -> None:
    """Raises UsageError if dropout or batch statistics are active, which `eval()` cannot change after the export."""
    for node in program.graph.nodes:
        name = str(getattr(node.target, "_opname", ""))
        place = TRAINED_BY.get(name)
        if name == "instance_norm" and len(node.args) > 3 and node.args[3] is None:
            continue  # without running statistics, every image is normalised by its own, in training or not
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise UsageError(
                f"{path}: was exported in training mode ({name} is active); call model.eval() before exporting it"
            )


@contextmanager
def weights_only() -> Iterator[None]:
    """Makes torch.load refuse pickled objects, even if it is called with `weights_only=False`."""
    names = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ[names[0]] = "1"
    try:
        yield
    finally:
        del os.environ[names[0]]
        os.environ.update({name: value for name, value in before.items() if value is not None})
