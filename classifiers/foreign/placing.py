"""Moves a foreign classifier to a device, with the devices that are written into its program."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate

OF_DEVICES = "DeviceObjType"  # the type of a device in TorchScript


def placed(model: nn.Module, device: torch.device | str) -> nn.Module:
    """The model with its weights on the device, and with no other device written into it.

    Exported and traced programs name the device on which they were made wherever they make a tensor, and `Module.to`
    changes nothing of that. A program that was made on an accelerator then fails on a CPU, and the reverse.

    Args:
        model: is changed; of TorchScript, a copy is returned where it must be compiled anew.
        device: where it is to run.
    """
    device = torch.device(device)
    if isinstance(model, torch.jit.ScriptModule):
        return _script_on(model, device)
    model = model.to(device)
    for parent in [*model.modules()]:
        if isinstance(parent, fx.GraphModule):
            _rewrite(parent, device)
        for name, child in [*parent.named_children()]:
            if isinstance(child, torch.jit.ScriptModule) and not isinstance(parent, torch.jit.ScriptModule):
                setattr(parent, name, _script_on(child, device))
    return model


def _rewrite(program: fx.GraphModule, device: torch.device) -> None:
    """Replace the devices in the calls of a graph, and move tensors that are neither parameters nor buffers."""
    for name, value in [*vars(program).items()]:
        if isinstance(value, torch.Tensor):
            setattr(program, name, value.to(device))

    def changed(value: Any) -> Any:
        return device if isinstance(value, torch.device) else value

    found = False
    for node in program.graph.nodes:
        arguments, options = map_aggregate((node.args, node.kwargs), changed)  # pyright: ignore[reportGeneralTypeIssues]
        if (arguments, options) != (node.args, node.kwargs):
            node.args, node.kwargs, found = arguments, options, True
    if found:
        program.recompile()


def _script_on(script: torch.jit.ScriptModule, device: torch.device) -> torch.jit.ScriptModule:
    """The script, or a copy of it on the device, as it goes on running what it compiled from the graph before."""
    elsewhere = _nodes_with_devices(script, device)
    if not elsewhere and device.type == "cpu":
        return script
    for node in elsewhere:
        node.s_("value", str(device))
    content = io.BytesIO()
    torch.jit.save(script, content)
    content.seek(0)
    return torch.jit.load(content, map_location=device)  # moves the tensors in its graph, too


def _nodes_with_devices(script: torch.jit.ScriptModule, device: torch.device) -> list[Any]:
    """The constants in the methods of a script that are another device."""
    found: list[Any] = []
    for module in script.modules():
        methods: Any = module._c
        for name in methods._method_names():
            graph = methods._get_method(name).graph
            for node in graph.findAllNodes("prim::Constant"):
                is_device = node.output().type().kind() == OF_DEVICES and node.hasAttribute("value")
                if is_device and torch.device(node.s("value")) != device:
                    found.append(node)
    return found
