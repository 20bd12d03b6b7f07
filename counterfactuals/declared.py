"""Whether the class of an engine says what the contract asks for; a package's author may have forgotten something."""

from __future__ import annotations

from dataclasses import MISSING, fields
from inspect import isabstract

from .engine import Engine
from .fidelity import fault_in
from .preset import Preset
from .settings import Meaning, out_of_range, settings_of, text_of


def fault_of(engine: object, name: str) -> str | None:
    """What is wrong with the class of an engine that is installed as `name`; None if nothing is."""
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        return "it is not a subclass of Engine"
    lacking = [each for each in ("name", "summary", "paper") if not isinstance(getattr(engine, each, None), str)]
    if lacking:
        return f"it lacks the class attribute {', '.join(lacking)}"
    if engine.name != name:
        return f"it calls itself {engine.name!r}; the entry point must have the same name"
    if isabstract(engine):
        return f"it lacks the method {', '.join(sorted(engine.__abstractmethods__))}"
    unfaithful = fault_in(engine.fidelity)
    if unfaithful is not None:
        return unfaithful
    if "__dataclass_fields__" not in vars(engine):
        return "it is not a dataclass; decorate it with @dataclass(frozen=True, kw_only=True)"
    known = {each.name: each for each in fields(engine) if each.init}
    for attribute in ("needs", "uses"):
        parts = getattr(engine, attribute)
        if not isinstance(parts, tuple | list):
            return f"{attribute} is {parts!r}; write a tuple of names of parts"
        for part in parts:
            if part not in known:
                return f"{attribute} names the part {part!r}, for which it has no field"
    for each in known.values():
        is_part = each.name in (*engine.needs, *engine.uses)
        if not is_part and each.default is MISSING and each.default_factory is MISSING:
            return f"its field {each.name!r} has no default and is no part that it needs or uses"
    for each in settings_of(engine):
        problem = out_of_range(each.meaning, each.default)
        if problem is not None:
            return f"the default of its setting {each.name}, {text_of(each.default)}, is out of range: {problem}"
    return fault_in_presets(engine)


def fault_in_presets(engine: type[Engine]) -> str | None:
    """What is wrong with the presets of an engine; None if nothing is."""
    meanings = {each.name: each.meaning for each in settings_of(engine)} | {"confidence": Meaning()}
    for name, preset in engine.presets.items():
        if not isinstance(preset, Preset):
            return f"its preset {name!r} is {preset!r}; write Preset(settings, published, differs)"
        for setting, value in preset.settings.items():
            if setting not in meanings or setting == "preset":
                return f"its preset {name!r} sets {setting!r}, which is no setting of it"
            problem = out_of_range(meanings[setting], value)
            if problem is not None:
                return f"its preset {name!r} sets {setting} to {text_of(value)}, which is out of range: {problem}"
        for part in preset.needs:
            if part not in engine.uses:
                return f"its preset {name!r} needs the part {part!r}, which the engine does not use"
    return None
