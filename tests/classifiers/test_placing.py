"""Programs have devices written into them, which are replaced when they move."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from cfx.classifiers.foreign.opening import open_classifier
from cfx.classifiers.foreign.placing import placed

CUDA = Path(__file__).parents[1] / "data" / "cuda"
IMAGES = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Ramp(nn.Module):
    """A network that adds two tensors on a device that its author has written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(676, 10))
        self.stored = torch.ones(28)

    def forward(self, images: Tensor) -> Tensor:
        ramp = torch.linspace(0, 1, 28, device="cpu")
        return self.layers(images + ramp.to("cpu") + self.stored.to("cpu"))


def program(model: nn.Module) -> fx.GraphModule:
    dynamic = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    module = torch.export.export(model.eval(), (IMAGES,), dynamic_shapes=dynamic).module()
    assert isinstance(module, fx.GraphModule)
    return module


def test_a_program_runs_on_the_device_that_it_is_moved_to():
    module = program(Ramp())
    with pytest.raises(RuntimeError):
        module.to("meta")(IMAGES.to("meta"))
    assert placed(nn.Sequential(program(Ramp())), "meta")(IMAGES.to("meta")).shape == (2, 10)


def test_a_program_that_stays_answers_as_before():
    model = Ramp()
    module = program(model)
    assert torch.equal(placed(module, "cpu")(IMAGES), model(IMAGES))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("inside", [False, True])
def test_a_trace_made_on_another_device_runs_here(tmp_path: Path, inside: bool):
    """TorchScript's Python is rewritten as an accelerator would have written it."""
    model = Ramp().eval()
    traced = torch.jit.trace(model, IMAGES)
    for node in traced.graph.findAllNodes("prim::Constant"):
        if node.output().type().kind() == "DeviceObjType":
            node.s_("value", "meta")
    traced.save(tmp_path / "there.pt")
    there = torch.jit.load(tmp_path / "there.pt", map_location="cpu")
    with pytest.raises((RuntimeError, NotImplementedError)):
        there(IMAGES)
    here = placed(nn.Sequential(there), "cpu") if inside else placed(there, "cpu")
    assert torch.equal(here(IMAGES), model(IMAGES))
    assert torch.equal(open_classifier(str(tmp_path / "there.pt")).model(IMAGES), model(IMAGES))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", ["ramp.pt2", "ramp.pt"])
def test_what_was_made_on_an_accelerator_opens_on_the_cpu(name: str):
    """The files hold `Ramp` with weights and devices of CUDA, exported and traced there with torch 2.11."""
    foreign = open_classifier(str(CUDA / name))
    assert {weight.device.type for weight in foreign.model.state_dict().values()} == {"cpu"}
    logits = foreign.model(IMAGES)
    assert logits.shape == (2, 10)
    other = open_classifier(str(CUDA / "ramp.pt2")).model(IMAGES)
    assert torch.allclose(logits, other, atol=1e-6), "both are the same network"


def test_a_script_without_devices_is_not_copied():
    script = torch.jit.script(nn.Linear(2, 2))
    assert placed(script, "cpu") is script
