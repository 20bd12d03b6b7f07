"""Which tensors of a checkpoint are those of a model, whatever names training has put around its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Modules that tools put around a model, or around parts of it: torch.compile, FSDP, DeepSpeed and Lightning Fabric,
# activation checkpointing. These names are of no one else.
TOOLS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_forward_module|_checkpoint_wrapped_module)\.")
# Names that training gives to the whole model: DataParallel, Lightning, and others. There may be several.
USUAL = re.compile(r"(?:(?:module|model|net|network)\.)*")
COUNTS = "num_batches_tracked"  # of batch norm, which eval mode does not use

Shape = tuple[int, ...] | None
"""The shape of a tensor; None if it is none."""


@dataclass(frozen=True)
class NamesFound:
    """The tensors of a model in a checkpoint.

    Attributes:
        tensors: name in the model -> name in the checkpoint.
        missing: names of the model that the checkpoint lacks.
        unneeded: names in the checkpoint that are none of the model's, and of modules that it does not have.
        unknown: names in the checkpoint that are none of the model's, in modules that it has: it is another model.
        copies: what stands before the model's names, if the checkpoint holds it several times.
    """

    tensors: Mapping[str, str]
    missing: tuple[str, ...]
    unneeded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Match:
    """The names of a model in a checkpoint after a prefix; the better one is the larger one."""

    prefix: str
    core: Mapping[str, str]
    fitting: int
    named: int

    @property
    def rank(self) -> tuple[int, int]:
        return self.fitting, self.named


def find_names(stored: Mapping[str, Shape], expected: Mapping[str, Shape]) -> NamesFound:
    """Find the tensors of a model in a checkpoint, under the prefix that has the most of them.

    Args:
        stored: names and shapes in the checkpoint.
        expected: names and shapes in the model's state dict; the model may be wrapped, too.
    """
    plain: dict[str, str] = {}
    for name in stored:
        plain.setdefault(TOOLS.sub("", name), name)
    cores = [{name: TOOLS.sub("", name) for name in expected}]
    wrapper = _common_wrapper(cores[0].values())
    if wrapper:
        cores.append({name: bare.removeprefix(wrapper) for name, bare in cores[0].items()})
    matches = [
        _match(prefix, core, plain, stored, expected) for core in cores for prefix in _prefixes(plain, core.values())
    ]
    if not matches:
        return NamesFound({}, tuple(expected), unknown=tuple(stored))
    best = max(match.rank for match in matches)
    equal = sorted((match for match in matches if match.rank == best), key=lambda match: len(match.prefix))
    usual = [match for match in equal if USUAL.fullmatch(match.prefix)]
    copies = () if usual or len({match.prefix for match in equal}) < 2 else tuple(match.prefix for match in equal)
    chosen = [*usual, *equal][0]
    found = {name: plain[chosen.prefix + bare] for name, bare in chosen.core.items() if chosen.prefix + bare in plain}
    rest = [name for name in stored if name not in {*found.values()}]
    modules = {bare.partition(".")[0] for bare in chosen.core.values() if "." in bare}
    unknown = tuple(name for name in rest if _is_of_model(TOOLS.sub("", name), chosen.prefix, modules))
    return NamesFound(
        tensors=found,
        missing=tuple(name for name in expected if name not in found and not name.endswith(COUNTS)),
        unneeded=tuple(name for name in rest if name not in unknown),
        unknown=unknown,
        copies=copies,
    )


def _match(
    prefix: str,
    core: Mapping[str, str],
    plain: Mapping[str, str],
    stored: Mapping[str, Shape],
    expected: Mapping[str, Shape],
) -> _Match:
    named = {name: plain[prefix + bare] for name, bare in core.items() if prefix + bare in plain}
    fitting = sum(stored[there] == expected[name] for name, there in named.items())
    return _Match(prefix, core, fitting, len(named))


def _is_of_model(name: str, prefix: str, modules: set[str]) -> bool:
    """Whether a name that the model lacks is in one of its modules, or in a layer that is only numbered."""
    if not name.startswith(prefix) or name.endswith(COUNTS):
        return False
    module, dot, _ = name.removeprefix(prefix).partition(".")
    return bool(dot) and (module in modules or module.isdecimal())


def _common_wrapper(names: Iterable[str]) -> str:
    """The longest usual prefix that all names have."""
    names = [*names]
    found = USUAL.match(names[0]) if names else None
    prefix = "" if found is None else found[0]
    while prefix and not all(name.startswith(prefix) for name in names):
        prefix = re.sub(r"[^.]*\.$", "", prefix)
    return prefix


def _prefixes(stored: Mapping[str, str], own: Iterable[str]) -> list[str]:
    """What may stand before all names of the model: what stands before one of the first few of them."""
    found: dict[str, None] = {}
    for name in [*own][:3]:
        for each in stored:
            if each == name or each.endswith(f".{name}"):
                found[each.removesuffix(name)] = None
    return [*found]
