"""Classifiers from model libraries, with the preprocessing and class names that the libraries declare."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...errors import UsageError, first_line, unknown_name
from .checkpoints import load_weights, read_weights, shapes_of
from .contract import STEM, Foreign, optional, pack
from .preprocessing import INTERPOLATIONS, Preprocessing
from .tensor_names import find_names

WEIGHTS_FILE = f"{STEM}.safetensors"
CONFIG_FILE = f"{STEM}.json"
Loaded = tuple[nn.Module, tuple[str, ...]]
"""A model with its weights, and notes about loading them."""

EVERYTHING = ("channels", "size", "order", "scale", "mean", "std", "interpolation", "output")


def imagenet_classes() -> list[str]:
    """The 1,000 class names of ImageNet, in the order of the logits, as torchvision's weights list them."""
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def open_torchvision(name: str, weights: Path | None = None) -> Foreign:
    """Opens a classifier of torchvision.models: "resnet18" or "resnet18@IMAGENET1K_V1"; "@none" for random weights.

    If a `weights` file is given, nothing is downloaded and the file determines the number of classes.

    Raises:
        UsageError: the model or weights are unknown, the download fails, or the file does not match the model.
    """
    import torchvision

    architecture, _, wanted = name.partition("@")
    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        raise _unknown_model("torchvision", architecture, known)
    choices = torchvision.models.get_model_weights(architecture)
    if wanted not in ("", "none", *choices.__members__):
        raise unknown_name(f"weights of {architecture}", wanted, ["none", *choices.__members__])
    chosen = choices["DEFAULT" if wanted in ("", "none") else wanted]
    tensors = read_weights(weights) if weights is not None else None
    if tensors is None and wanted != "none":
        tensors = _downloaded(
            f"torchvision:{name}", lambda: chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
        )
    model, notes = _torchvision_model(architecture, tensors, str(weights or name))
    names = chosen.meta.get("categories") if tensors is not None else None
    rules = chosen.transforms()
    preprocessing = Preprocessing(
        channels=3,
        size=(int(rules.crop_size[0]), int(rules.crop_size[-1])),
        mean=_numbers(rules.mean),
        std=_numbers(rules.std),
        interpolation=_interpolation(rules.interpolation.value),
    )
    classes = _class_names(names, _width(model))
    files = {WEIGHTS_FILE: pack(model, name)}
    return Foreign(model, "torchvision", name, preprocessing, EVERYTHING, classes, files, notes=notes)


def open_timm(name: str, weights: Path | None = None) -> Foreign:
    """Opens a classifier of timm with its pretrained weights, those of a file, or ("NAME@none") random ones.

    Raises:
        UsageError: timm is missing, the model is unknown, the download fails, or the file does not match the model.
    """
    timm = optional(f"timm:{name}", "timm")
    architecture, _, wanted = name.partition("@")
    if wanted not in ("", "none"):
        raise unknown_name(f"weights of timm:{architecture} (a tag follows a dot)", wanted, ["none"])
    if not timm.is_model(architecture.partition(".")[0]):
        raise _unknown_model("timm", architecture, timm.list_models())
    pretrained = weights is None and wanted != "none"
    tensors = read_weights(weights) if weights is not None else None
    if pretrained:
        model: Any = _downloaded(f"timm:{name}", lambda: timm.create_model(architecture, pretrained=True))
    else:
        model = timm.create_model(architecture, pretrained=False)
    notes: tuple[str, ...] = ()
    if tensors is not None:
        model, notes = _with_weights(
            model, tensors, lambda count: timm.create_model(architecture, num_classes=count), str(weights)
        )
    rules = timm.data.resolve_model_data_config(model)
    preprocessing = Preprocessing(
        channels=rules["input_size"][0],
        size=(rules["input_size"][1], rules["input_size"][2]),
        mean=_numbers(rules["mean"]),
        std=_numbers(rules["std"]),
        interpolation=_interpolation(rules["interpolation"]),
    )
    names = model.pretrained_cfg.get("label_names")
    if names is None and (pretrained or tensors is not None):
        subset = timm.data.infer_imagenet_subset(model)
        info = timm.data.ImageNetInfo(subset) if subset else None
        names = [info.index_to_description(index) for index in range(info.num_classes())] if info else None
    classes = _class_names(names, _width(model))
    files = {WEIGHTS_FILE: pack(model, name)}
    return Foreign(model.eval(), "timm", name, preprocessing, EVERYTHING, classes, files, notes=notes)


def open_hf(name: str, weights: Path | None = None) -> Foreign:
    """Opens a Hugging Face image classifier from a directory or by its id, without running its own Python code.

    Raises:
        UsageError: transformers is missing, or the model is not an image classifier, has no safetensors, or cannot be
            downloaded.
    """
    spec = f"hf:{name}"
    transformers = optional(spec, "transformers")
    if weights is not None:
        raise UsageError(f"{spec}: reads its weights from its own directory; leave {weights} out")
    transformers.utils.logging.disable_progress_bar()
    model: Any = _downloaded(
        spec,
        lambda: transformers.AutoModelForImageClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False
        ),
    )
    try:
        rules: dict[str, Any] = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(name)[
            0
        ]
    except OSError:  # no preprocessor_config.json: nothing is declared
        rules = {}
    config = model.config
    preprocessing, declared = _hf_preprocessing(rules, config)
    labels = config.id2label or {}
    names = tuple(str(labels[index]) for index in sorted(labels)) if labels else None
    files = {WEIGHTS_FILE: pack(model, name), CONFIG_FILE: json.dumps(config.to_dict(), default=str).encode()}
    return Foreign(model.eval(), "hf", name, preprocessing, declared, names, files)


def rebuild(kind: str, name: str, directory: Path, file: str) -> nn.Module:
    """Builds a library's model with the weights stored in a bundle, without downloading anything.

    Raises:
        UsageError: the library is missing or no longer has this model, or the file is missing or does not match it.
    """
    path = directory / file
    if kind == "torchvision":
        return _torchvision_model(name.partition("@")[0], read_weights(path), str(path))[0]
    tensors = read_weights(path)
    if kind == "timm":
        make = optional(f"timm:{name}", "timm").create_model
        architecture = name.partition("@")[0]
        model, _ = _with_weights(
            make(architecture), tensors, lambda count: make(architecture, num_classes=count), str(path)
        )
        return model.eval()
    transformers = optional(f"hf:{name}", "transformers")
    try:
        values = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        config = transformers.AutoConfig.for_model(**values)
        model = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{directory / CONFIG_FILE}: is missing or damaged ({first_line(error)}); restore it"
        ) from error
    load_weights(model, tensors, str(path))
    return model.eval()


def _torchvision_model(architecture: str, tensors: Mapping[str, Tensor] | None, where: str) -> Loaded:
    import torchvision

    def make(classes: int | None = None) -> nn.Module:
        if classes is None:
            return torchvision.models.get_model(architecture, weights=None).eval()
        return torchvision.models.get_model(architecture, weights=None, num_classes=classes).eval()

    return (make(), ()) if tensors is None else _with_weights(make(), tensors, make, where)


def _with_weights(
    model: nn.Module, tensors: Mapping[str, Tensor], make: Callable[[int], Any], where: str
) -> Loaded:  # fmt: skip
    """Loads weights into the model, which is rebuilt if they have another number of classes."""
    expected = model.state_dict()
    last = [*expected][-1]  # the head is the last layer in these libraries
    there = find_names(shapes_of(tensors), shapes_of(expected)).tensors.get(last)
    if there is not None:
        given, own = tensors[there], expected[last]
        if given.dim() and own.dim() and given.shape[0] != own.shape[0]:
            model = make(given.shape[0])
    notes = load_weights(model, tensors, where)
    return model.eval(), notes


def _downloaded(spec: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # each library has its own exceptions, and network errors are passed on
        raise UsageError(
            f"{spec}: could not be loaded or downloaded ({first_line(error)}); check the name and the network, "
            "or provide the weights as a file"
        ) from error


def _unknown_model(library: str, name: str, known: list[str]) -> UsageError:
    """An error that lists only the most similar names, because a library has hundreds of models."""
    near = ", ".join(get_close_matches(name, known, n=5, cutoff=0.4)) or "none"
    return UsageError(f"{library}:{name}: {library} has no classifier of this name; similar names are {near}")


def _hf_preprocessing(rules: Mapping[str, Any], config: Any) -> tuple[Preprocessing, tuple[str, ...]]:
    """Converts a preprocessor_config.json to `Preprocessing`; also returns the fields that it declares."""
    channels = int(getattr(config, "num_channels", 3))
    side = getattr(config, "image_size", None)
    size = rules.get("crop_size") if rules.get("do_center_crop", True) else None
    size = size or rules.get("size") or side
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        size = (size.get("height", edge), size.get("width", edge))
    elif isinstance(size, int):
        size = (size, size)
    fields: dict[str, Any] = {"channels": channels}
    if size is not None and None not in size:
        fields["size"] = (int(size[0]), int(size[1]))
    if rules:
        # Their images range from 0 to 255 and are multiplied by the factor; ours range from 0 to 1.
        scale = 255 * float(rules.get("rescale_factor", 1 / 255)) if rules.get("do_rescale", True) else 255.0
        fields["scale"] = round(scale, 9)
        offset = 1.0 if rules.get("rescale_offset") else 0.0  # EfficientNet's: rescales to -1..1 before mean and std
        plain = not rules.get("do_normalize", True) or "image_mean" not in rules
        mean, std = ((0.0,), (1.0,)) if plain else (_numbers(rules["image_mean"]), _numbers(rules["image_std"]))
        fields["mean"], fields["std"] = tuple(value + offset for value in mean), std
        names = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
        fields["interpolation"] = names.get(rules.get("resample", 2), "bilinear")
        fields["order"] = "bgr" if rules.get("do_flip_channel_order") else "rgb"
    return Preprocessing(**fields), (*fields, "output")


def _width(model: nn.Module) -> int:
    """The number of classes of a library's model: the size of its last tensor, which belongs to the head."""
    last = list(model.state_dict().values())[-1]
    return last.shape[0] if last.dim() else 0


def _class_names(names: Any, count: int) -> tuple[str, ...] | None:
    """The names as a tuple if there are `count` of them, else None."""
    return tuple(str(name) for name in names) if names is not None and len(names) == count else None


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in (values if isinstance(values, tuple | list) else [values]))


def _interpolation(name: str) -> str:
    return name if name in INTERPOLATIONS else "bicubic"  # the closest match for others, such as Lanczos
