"""A bundle is a directory: `bundle.toml` and one safetensors file a part. Load, verify, save.

Parts are loaded when they are first asked for, so a command pays only for the models that it uses.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn

from ..data.errors import BundleError, unknown_name
from ..data.files import write_bytes, write_text
from ..data.images import resized

SCHEMA = 1

# What a bundle may name as the architecture of a part. Nothing else is ever imported on a bundle's word.
ARCHITECTURES = {
    "ConvNet": "cfx.classifiers.convolutional",
    "ResidualNet": "cfx.classifiers.convolutional",
    "PatchTransformer": "cfx.classifiers.transformer",
    "RealImages": "cfx.classifiers.real_images",
    "Retrained": "cfx.classifiers.retrained",
    "VAE": "cfx.generative.vae",
    "ConditionalVAE": "cfx.generative.conditional_vae",
    "LatentAnchors": "cfx.generative.anchors",
    "ImageFlow": "cfx.generative.flow",
    "ClassAutoencoders": "cfx.generative.autoencoders",
}

PARTS = {
    "classifier": "the classifier that is explained",
    "judge": "an independent classifier that only scores",
    "second_judge": "another one, of another kind",
    "retrained": "the classifier trained again with other seeds, for robustness",
    "vae": "variational autoencoder",
    "anchors": "latents of real images in the VAE",
    "conditional_vae": "VAE with class-free latents, conditioned on class probabilities",
    "flow": "normalizing flow",
    "autoencoders": "one autoencoder a class and one for all, for IM1 and IM2",
    "reference": "features of real images in the judge, for the realism percentile",
}


class Bundle:
    """A loaded `bundle.toml`, and its parts on demand.

    Attributes:
        directory: where it lies.
        description: the parsed `bundle.toml`.
        device: where parts are put.

    Raises:
        BundleError: `bundle.toml` is missing or not of this schema.
    """

    def __init__(self, directory: Path, device: str = "cpu") -> None:
        self.directory = directory
        self.device = torch.device(device)
        path = directory / "bundle.toml"
        try:
            self.description: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(f"bundle {directory}: no bundle.toml there; `cfx info` lists the bundles") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BundleError(f"bundle {directory}: bundle.toml is damaged ({error}); restore the bundle") from error
        if self.description.get("schema") != SCHEMA:
            found = self.description.get("schema")
            raise BundleError(f"bundle {directory}: schema {found!r}, this cfx reads schema {SCHEMA}")
        self._loaded: dict[str, nn.Module] = {}

    @property
    def name(self) -> str:
        """The bundle's name, such as "mnist"."""
        return self.description["name"]

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the classifier's logits."""
        return self.description["classes"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the bundle's models take."""
        channels, height, width = self.description["shape"]
        return channels, height, width

    @property
    def working(self) -> tuple[int, int]:
        """(H, W) that the generative models and the judges work in: the images' own, or smaller."""
        height, width = self.description.get("working", self.shape[1:])
        return height, width

    @property
    def is_carried(self) -> bool:
        """Whether models work in a smaller size, and changes are carried back to the images' own."""
        return self.working != self.shape[1:]

    def shrink(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in the size that models work in; the same images where that is their own."""
        return resized(images, self.working)

    def enlarge(self, images: Tensor) -> Tensor:
        """Images in the size that models work in as the classifier takes them, (N, C, H, W)."""
        return resized(images, self.shape[1:])

    @property
    def fit(self) -> str:
        """How an image of other proportions comes into `shape`: "pad", "crop" or "stretch"."""
        return self.description.get("fit", "pad")

    @property
    def present(self) -> list[int]:
        """The classes that its models have seen images of, and that can be asked for."""
        return self.description.get("present", list(range(len(self.classes))))

    @property
    def engine(self) -> str | None:
        """The engine that does best with its models, where the bundle says one."""
        return self.description.get("engine")

    @property
    def is_foreign(self) -> bool:
        """Whether the classifier is one that the user brought."""
        return "kind" in self.parts.get("classifier", {})

    @property
    def differentiable(self) -> bool:
        """Whether gradients come through the classifier."""
        return self.parts.get("classifier", {}).get("differentiable", True)

    @property
    def light_on_dark(self) -> bool:
        """Whether its images are light strokes on a dark ground, so that ink on paper must be inverted."""
        return bool(self.description.get("light_on_dark", False))

    @cached_property
    def digest(self) -> str:
        """sha256 of bundle.toml, which holds the sha256 of every part: names exactly this bundle."""
        return hashlib.sha256((self.directory / "bundle.toml").read_bytes()).hexdigest()

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """What bundle.toml says of each part it has."""
        return self.description.get("parts", {})

    def has(self, name: str) -> bool:
        """Whether the bundle lists this part."""
        return name in self.parts

    def must_have(self, name: str) -> dict[str, Any]:
        """What bundle.toml says of a part.

        Raises:
            BundleError: it is not in the bundle; says why, or what makes it.
        """
        if not self.has(name):
            what = PARTS.get(name, "unknown part")
            why_not = self.description.get("left_out", {}).get(name)
            remedy = why_not or f"`cfx train {self.directory} --only {name}` makes it"
            raise BundleError(f"bundle {self.name}: has no part {name!r} ({what}); {remedy}")
        return self.parts[name]

    def part(self, name: str) -> nn.Module:
        """The part's model in eval mode on the bundle's device; checked and loaded at the first call.

        Raises:
            BundleError: the part is not in the bundle, its file is missing, changed, a pickle, or of other shapes.
        """
        if name not in self._loaded:
            # Whoever asks first may be in inference mode, whose tensors no later gradient could pass through.
            with torch.inference_mode(False):
                self._loaded[name] = self._load(name).to(self.device).eval().requires_grad_(False)
        return self._loaded[name]

    @property
    def classifier(self) -> nn.Module:
        """The classifier that is explained."""
        return self.part("classifier")

    def verify(self) -> None:
        """Check and load every part.

        Raises:
            BundleError: as `part`.
        """
        for name in self.parts:
            self.part(name)

    def _load(self, name: str) -> nn.Module:
        entry = self.must_have(name)
        if "kind" in entry:
            return self._foreign(entry)
        path = self.directory / entry["file"]
        where = f"bundle {self.name}: part {name!r} ({path.name})"
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise BundleError(f"{where} is missing; restore the file or remake it with `cfx train`") from error
        if content[:1] == b"\x80" or content[:2] == b"PK":
            raise BundleError(
                f"{where} is a pickle, which could run code; convert it with "
                "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
            )
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise BundleError(f"{where} is not the file that bundle.toml describes (sha256 differs); restore it")
        try:
            tensors = parse_safetensors(content)
        except SafetensorError as error:
            raise BundleError(f"{where} is not a safetensors file ({error})") from error
        try:
            model = build(entry["architecture"], entry.get("arguments", {}))
            model.load_state_dict(widen(tensors))
        except RuntimeError as error:
            problem = str(error).splitlines()[-1].strip()
            raise BundleError(f"{where} does not fit {entry['architecture']}: {problem}") from error
        if name == "classifier" and self.is_carried:  # of cfx's own making: it works in the size of the other models
            from ..classifiers.adapted import Adapted
            from ..classifiers.preprocessing import Preprocessing

            return Adapted(model, Preprocessing(self.shape[0], self.working))
        return model

    def _foreign(self, entry: Mapping[str, Any]) -> nn.Module:
        """The classifier that the user brought, as its entry says that it takes images."""
        from ..classifiers.adapted import Adapted
        from ..classifiers.preprocessing import Preprocessing
        from ..classifiers.sources import reopen

        named = [entry["file"]] if "file" in entry else []
        digests = [entry.get("sha256"), *entry.get("other_sha256", [])]
        for file, digest in zip_longest([*named, *entry.get("other_files", [])], digests if named else []):
            path = self.directory / Path(str(file)).name
            if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise BundleError(
                    f"bundle {self.name}: {path.name} is not the file that bundle.toml describes (sha256 differs); "
                    "restore it"
                )
        foreign = reopen(entry, self.directory)
        if self.differentiable and not foreign.differentiable:
            raise BundleError(
                f"bundle {self.name}: its classifier {foreign.name} had gradients when the bundle was begun, and has "
                "none here; install what it was begun with (for ONNX: pip install onnx2torch)"
            )
        preprocessing = foreign.preprocessing or Preprocessing(self.shape[0])
        return Adapted(
            foreign.model, preprocessing, self.differentiable, entry.get("columns"), fixed_batch=foreign.fixed_batch
        )


def widen(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored half precision to the single precision in which everything is computed."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}


def narrow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Single precision to the half precision in which it is stored."""
    return {
        name: (tensor.half() if tensor.dtype == torch.float32 else tensor).contiguous()
        for name, tensor in tensors.items()
    }


def build(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained model of a known architecture.

    Raises:
        BundleError: the architecture is not one of `ARCHITECTURES`, or does not take these arguments.
    """
    if architecture not in ARCHITECTURES:
        raise BundleError(str(unknown_name("architecture", architecture, ARCHITECTURES)))
    made = getattr(import_module(ARCHITECTURES[architecture]), architecture)
    try:
        return cast(nn.Module, made(**arguments))
    except TypeError as error:
        raise BundleError(f"architecture {architecture}: {error}") from error


def shipped() -> dict[str, Path]:
    """Name and directory of the bundles that come with cfx."""
    root = Path(str(files("cfx.bundles")))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/bundle.toml"))}


def find_bundle(name: str) -> Path:
    """The directory of a bundle, by the name of a shipped one or by path.

    Raises:
        UsageError: neither; names the nearest known bundle.
    """
    if Path(name).is_dir():
        return Path(name)
    known = shipped()
    if name not in known:
        raise unknown_name("bundle", name, known)
    return known[name]


def load_bundle(name: str = "mnist", device: str = "cpu") -> Bundle:
    """Open a bundle by name ("mnist") or directory; its models are loaded when first used.

    Raises:
        UsageError: no such bundle.
        BundleError: it is damaged.
    """
    return Bundle(find_bundle(name), device)


def round_to_stored(model: nn.Module) -> None:
    """Round a model to the half precision in which it will be stored."""
    model.load_state_dict(widen(narrow(model.state_dict())))


def save_part(
    directory: Path, name: str, model: nn.Module, entry: Mapping[str, Any], instead_of: Sequence[str] = ()
) -> None:
    """Write one part, in half precision, and its entry in bundle.toml, each to a temporary name first.

    Args:
        directory: of the bundle.
        name: of the part.
        model: what is stored; itself rounded to that, too.
        entry: what bundle.toml says of it, but for file and sha256.
        instead_of: parts that are worth nothing any more, and are taken out of bundle.toml in the same moment.
    """
    round_to_stored(model)
    content = dump_safetensors(narrow(model.state_dict()))
    path = directory / f"{name}.safetensors"
    write_bytes(path, content)
    description = tomllib.loads((directory / "bundle.toml").read_text(encoding="utf-8"))
    digest = hashlib.sha256(content).hexdigest()
    parts = {other: about for other, about in description.get("parts", {}).items() if other not in instead_of}
    description["parts"] = {**parts, name: {"file": path.name, "sha256": digest, **entry}}
    write_description(directory, description)


def write_description(directory: Path, description: Mapping[str, Any]) -> None:
    """Write bundle.toml: top-level values, then one table a part, in the order of `PARTS`."""
    lines = [f"{key} = {as_toml(value)}" for key, value in description.items() if key != "parts"]
    parts = description.get("parts", {})
    for name in sorted(parts, key=list(PARTS).index):
        lines += ["", f"[parts.{name}]", *(f"{key} = {as_toml(value)}" for key, value in parts[name].items())]
    write_text(directory / "bundle.toml", "\n".join(lines) + "\n")


def as_toml(value: Any) -> str:
    """A TOML value on one line: what JSON and TOML write alike, and inline tables with plain names as keys."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {as_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(each) for each in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
