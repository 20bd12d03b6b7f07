"""Classifiers from files, code and libraries: the same model comes out, and nothing that was not asked for runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.bundles.file import as_document
from cfx.classifiers.foreign.adapted import Adapted, has_gradients
from cfx.classifiers.foreign.contract import Foreign, ForeignEntry
from cfx.classifiers.foreign.factories import TRUST_VARIABLE
from cfx.classifiers.foreign.opening import describe, open_classifier, trust
from cfx.classifiers.foreign.opening import reopen as reopen_entry
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.classifiers.foreign.programs import weights_only
from cfx.documents import Table
from cfx.errors import BundleError, CfxError, UsageError

Digits = tuple[Tensor, Tensor]


def adapted(foreign: Foreign) -> Adapted:
    preprocessing = foreign.preprocessing or Preprocessing(1)
    return Adapted(foreign.model, preprocessing, foreign.differentiable, fixed_batch=foreign.fixed_batch)


def contiguous(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights as safetensors takes them."""
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}


def kept(foreign: Foreign, directory: Path) -> dict[str, Any]:
    """Leave in `directory` what a bundle keeps, and return its entry as bundle.toml gives it back."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in foreign.files.items():
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    document = as_document({"schema": 1, "parts": {"classifier": describe(foreign).as_json()}})
    (directory / "bundle.toml").write_text(document)
    return tomllib.loads((directory / "bundle.toml").read_text())["parts"]["classifier"]


def reopen(entry: dict[str, Any], directory: Path) -> Foreign:
    """The classifier of an entry as bundle.toml holds it."""
    return reopen_entry(ForeignEntry.from_json(Table(entry, f"bundle {directory}", BundleError)), directory)


def check_same(foreign: Foreign, bundle: Bundle, digits: Digits, gradients: bool = True) -> None:
    """The logits of the shipped classifier for every digit, its accuracy, and true gradients or none."""
    images, labels = digits
    with torch.no_grad():
        found, wanted = adapted(foreign)(images), bundle.classifier(images)
    assert float((found - wanted).abs().max()) < 1e-4
    assert bool((found.argmax(1) == wanted.argmax(1)).all())
    assert float((found.argmax(1) == labels).float().mean()) > 0.95
    assert foreign.differentiable == has_gradients(adapted(foreign), images[:3]) == gradients


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped classifier as dynamic.pt2, fixed.pt2 (4 images), narrow.pt2 (1 to 64), script.pth."""
    folder = tmp_path_factory.mktemp("exported")
    images = torch.rand(4, 1, 28, 28)
    for name, shapes in (
        ("dynamic", ({0: torch.export.Dim.DYNAMIC},)),
        ("fixed", None),
        ("narrow", ({0: torch.export.Dim("n", min=1, max=64)},)),
    ):
        program = torch.export.export(bundle.classifier, (images,), dynamic_shapes=shapes)
        torch.export.save(program, folder / f"{name}.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(bundle.classifier), folder / "script.pth")
    return folder


@pytest.fixture
def here(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory whose module `users_code` makes the shipped architecture, and a state directory."""
    entry = bundle.parts["classifier"]
    (tmp_path / "users_code.py").write_text(
        "import pathlib\n"
        "from cfx.bundles.known_parts import build\n"
        "pathlib.Path('imported').touch()\n"
        f"def make(): return build({entry.architecture!r}, {dict(entry.arguments)!r})\n"
        "class Models: make = staticmethod(make)\n"
        "def box(): return lambda images: images.flatten(1)[:, :3].numpy()\n"
        "def seven(): return 7\n"
        "def broken(): raise ValueError('no such head')\n"
        "model = make()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    yield tmp_path
    sys.modules.pop("users_code", None)


# Programs.


@pytest.mark.parametrize(("name", "fixed_batch"), [("dynamic", None), ("fixed", 4), ("narrow", 64)])
def test_exported_program(
    exported: Path, tmp_path: Path, bundle: Bundle, digits: Digits, name: str, fixed_batch: int | None
) -> None:
    foreign = open_classifier(str(exported / f"{name}.pt2"))
    assert (foreign.kind, foreign.name, foreign.fixed_batch) == ("pt2", f"{name}.pt2", fixed_batch)
    assert foreign.preprocessing == Preprocessing(1, (28, 28)) and foreign.declared == ("channels", "size")
    check_same(foreign, bundle, digits)
    check_same(reopen(kept(foreign, tmp_path), tmp_path), bundle, digits)
    model = adapted(foreign)
    with torch.no_grad():
        before = model(digits[0][:1])  # one image is a batch of one
        assert torch.equal(model.eval().train().requires_grad_(False).to("cpu")(digits[0][:1]), before)


def test_torchscript_is_known_by_its_content(exported: Path, tmp_path: Path, bundle: Bundle, digits: Digits) -> None:
    foreign = open_classifier(str(exported / "script.pth"))
    assert foreign.kind == "torchscript" and foreign.preprocessing is None
    check_same(foreign, bundle, digits)
    check_same(reopen(kept(foreign, tmp_path), tmp_path), bundle, digits)


def test_a_corrected_preprocessing_stands(exported: Path, tmp_path: Path) -> None:
    entry = kept(open_classifier(str(exported / "dynamic.pt2")), tmp_path)
    entry["preprocessing"]["mean"] = [0.5]
    assert reopen(entry, tmp_path).preprocessing == Preprocessing(1, (28, 28), mean=(0.5,))


@pytest.mark.parametrize(
    ("shape", "sentence"), [((2, 5, 8, 8), r"its input is \(2, 5, 8, 8\)"), ((2, 8), r"its input is \(2, 8\)")]
)
def test_a_program_that_takes_no_images_is_refused(tmp_path: Path, shape: tuple[int, ...], sentence: str) -> None:
    torch.export.save(torch.export.export(nn.ReLU(), (torch.rand(shape),)), tmp_path / "odd.pt2")
    with pytest.raises(UsageError, match=sentence):
        open_classifier(str(tmp_path / "odd.pt2"))


def test_a_program_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5)).train()
    torch.export.save(torch.export.export(model, (torch.rand(2, 1, 8, 8),)), tmp_path / "training.pt2")
    with pytest.raises(UsageError, match=r"exported in training mode \(dropout is active\); call model.eval\(\)"):
        open_classifier(str(tmp_path / "training.pt2"))


def test_weights_for_a_program_are_refused(exported: Path) -> None:
    with pytest.raises(UsageError, match=r"already contains its weights; leave w\.safetensors out"):
        open_classifier(str(exported / "dynamic.pt2"), Path("w.safetensors"))


# Programs that want to run code. Each is the real program with one thing changed.


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def forged(source: Path, target: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> str:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, content in extra.items():
            new.writestr(f"{old.namelist()[0].partition('/')[0]}/{name}", content)
    return str(target)


def in_program(edit: Callable[[dict[str, Any]], object]) -> Callable[[str, bytes], bytes]:
    """A change of the program's JSON."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        program = json.loads(content)
        edit(program)
        return json.dumps(program).encode()

    return change


def unchanged(name: str, content: bytes) -> bytes:
    return content


@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"])
def test_a_pickle_in_a_program_does_not_run(exported: Path, tmp_path: Path, member: str) -> None:
    ran = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save((Payload(ran),), buffer)
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert ran.exists()  # so the payload is a real one
    ran.unlink()
    sample = member.startswith("data/sample")
    spec = forged(
        exported / "dynamic.pt2",
        tmp_path / "evil.pt2",
        lambda name, content: buffer.getvalue() if name.endswith(member) else content,
        {} if sample else {member: buffer.getvalue()},
    )
    with pytest.raises(UsageError, match=r"evil\.pt2: torch .* could not load it"):
        open_classifier(spec)
    assert not ran.exists()


@pytest.mark.parametrize(
    "member",
    ["data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/aotinductor/model/lib.so", "DATA/CONSTANTS/x"],
)
def test_objects_and_libraries_in_a_program_are_refused(exported: Path, tmp_path: Path, member: str) -> None:
    ran = tmp_path / "ran"
    spec = forged(exported / "dynamic.pt2", tmp_path / "evil.pt2", unchanged, {member: pickle.dumps(Payload(ran))})
    with pytest.raises(UsageError, match=f"contains '{member}', which could run code"):
        open_classifier(spec)
    assert not ran.exists()


def test_an_expression_in_a_program_does_not_run(exported: Path, tmp_path: Path) -> None:
    import sympy

    ran = tmp_path / "ran"
    evil = f"__import__('pathlib').Path('{ran}').touch() or 4"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sympy.sympify(evil)
    assert ran.exists()  # so the expression is a real one
    ran.unlink()
    edited = json.dumps({"type": "expr", "text": evil})

    def edit(program: dict[str, Any]) -> None:
        size = program["graph_module"]["graph"]["tensor_values"]["images"]["sizes"][0]
        assert "Symbol" in size["as_expr"]["expr_str"]
        size["as_expr"]["expr_str"] = json.loads(edited)["text"]

    spec = forged(exported / "dynamic.pt2", tmp_path / "evil.pt2", in_program(edit), {})
    with pytest.raises(UsageError, match=r"it has the size .*__import__.*, which could run code"):
        open_classifier(spec)
    assert not ran.exists()


def test_guards_in_a_program_do_not_run(exported: Path, tmp_path: Path, bundle: Bundle, digits: Digits) -> None:
    ran = tmp_path / "ran"

    def edit(program: dict[str, Any]) -> None:
        program["guards_code"] = [f"__import__('pathlib').Path('{ran}').touch() or True"]

    spec = forged(exported / "dynamic.pt2", tmp_path / "evil.pt2", in_program(edit), {})
    torch.export.load(spec).module()(digits[0][:2])
    assert ran.exists()  # so the guard is a real one: torch runs it
    ran.unlink()
    check_same(open_classifier(spec), bundle, digits)  # the program itself is harmless, and served without it
    assert not ran.exists()


def _node(program: dict[str, Any]) -> dict[str, Any]:
    return program["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda p: _node(p).update(target="torch.ops.aten.from_file.default"), "it calls 'torch.ops.aten.from_file"),
        (lambda p: _node(p).update(target="torch.hub.load"), "it calls 'torch.hub.load'"),
        (lambda p: (_node(p).pop("metadata"), _node(p).update(target="torch.hub.load")), "it calls 'torch.hub.load'"),
        (lambda p: _node(p).update(target="_operator.methodcaller"), "it calls '_operator.methodcaller'"),
        (lambda p: _node(p).update(name="sub=print(1)"), r"it uses the name 'sub=print\(1\)'"),
        (
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                out_spec='[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
            ),
            "its arguments are a 'collections.defaultdict'",
        ),
        (
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                out_spec='[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": 1}]", "children_spec": []}]'
            ),
            "its arguments are named",
        ),
        (
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(in_spec="[1]"),
            "models/model.json is damaged",
        ),
    ],
)
def test_names_in_a_program_that_could_become_code_are_refused(
    exported: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    spec = forged(exported / "dynamic.pt2", tmp_path / "evil.pt2", in_program(edit), {})
    with pytest.raises(UsageError, match=sentence):
        open_classifier(spec)


def test_torch_load_is_forced_to_refuse_objects_and_let_go_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    before = dict(os.environ)
    buffer = io.BytesIO()
    torch.save(Path("x"), buffer)
    with weights_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert dict(os.environ) == before
    assert torch.load(io.BytesIO(buffer.getvalue()), weights_only=False) == Path("x")


def test_torchscript_that_writes_files_is_refused(tmp_path: Path) -> None:
    class Writing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            torch.save(images, "stolen.pt")
            return images

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Writing()), tmp_path / "writing.pt")
    with pytest.raises(UsageError, match="its code calls 'save', which accesses files"):
        open_classifier(str(tmp_path / "writing.pt"))


# The user's own code.


def test_factory_with_weights(here: Path, bundle: Bundle, digits: Digits) -> None:
    state = contiguous(bundle.classifier)
    save_file(state, here / "w.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, here / "w.pt")
    torch.save({"model_state_dict": state}, here / "w.pth")
    for weights in ("w.safetensors", "w.pt", "w.pth"):
        foreign = open_classifier("users_code:Models.make", here / weights)
        assert foreign.kind == "factory" and foreign.preprocessing is None
        check_same(foreign, bundle, digits)
    assert str(here) not in sys.path


def test_a_bundle_names_code_in_vain_until_it_is_trusted(
    here: Path, bundle: Bundle, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(contiguous(bundle.classifier), here / "w.safetensors")
    entry = kept(open_classifier("users_code:make", here / "w.safetensors"), here / "bundle")
    sys.modules.pop("users_code")
    (here / "imported").unlink()
    with pytest.raises(BundleError, match=f"does not run .*; if you trust it, set {TRUST_VARIABLE}=users_code:make"):
        reopen(entry, here / "bundle")
    trust(here / "bundle", "users_code:seven")
    monkeypatch.setenv(TRUST_VARIABLE, "users_code:seven,other:make")
    with pytest.raises(BundleError, match="does not run"):
        reopen(entry, here / "bundle")
    (here / "state" / "cfx" / "trusted-code.json").write_text("damaged")
    with pytest.raises(BundleError, match="does not run"):
        reopen(entry, here / "bundle")
    assert not (here / "imported").exists()

    monkeypatch.setenv(TRUST_VARIABLE, "other:make, users_code:make")
    check_same(reopen(entry, here / "bundle"), bundle, digits)
    monkeypatch.delenv(TRUST_VARIABLE)
    trust(here / "bundle", "users_code:make")
    trust(here / "another", "users_code:box")
    monkeypatch.chdir(here / "bundle" / "..")
    check_same(reopen(entry, Path("bundle")), bundle, digits)
    kept(open_classifier("users_code:make"), here / "copy")
    with pytest.raises(BundleError, match="does not run"):
        reopen(entry, here / "copy")  # the same bundle elsewhere


def test_a_plain_callable_is_a_black_box(here: Path, digits: Digits) -> None:
    foreign = open_classifier("users_code:box")
    assert not foreign.differentiable and not foreign.files
    assert torch.equal(adapted(foreign)(digits[0]), digits[0].flatten(1)[:, :3])
    assert describe(foreign).as_json() == {"kind": "factory", "name": "users_code:box", "differentiable": False}
    with pytest.raises(UsageError, match="returned a plain callable, which takes no weights"):
        open_classifier("users_code:box", Path("w.pt"))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("users_code:seven", "returned a int; it must take no arguments and return an nn.Module"),
        ("users_code:broken", "calling it without arguments failed .ValueError: no such head."),
        ("users_code:absent", "users_code has no 'absent'; name a function that returns the model"),
        ("users_code:model", "is already a model; name a function"),
        ("users_code:__name__", "is a str; name a function"),
        ("absent_code:make", "there is no module 'absent_code' here; start cfx in the directory that contains it"),
        ("broken_code:make", "importing broken_code failed .ZeroDivisionError"),
        ("needy_code:make", "importing needy_code failed .ModuleNotFoundError: No module named 'absent_needed'"),
    ],
)
def test_bad_code_is_one_sentence(here: Path, spec: str, sentence: str) -> None:
    (here / "broken_code.py").write_text("1 / 0\n")
    (here / "needy_code.py").write_text("import absent_needed\n")
    with pytest.raises(UsageError, match=f"{spec}: .*{sentence}") as caught:
        open_classifier(spec)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_one_sentence(here: Path, bundle: Bundle) -> None:
    state = contiguous(bundle.classifier)
    state["extra"] = state.pop("head.bias")
    state["head.weight"] = state["head.weight"][:3].clone()
    save_file(state, here / "w.safetensors")
    with pytest.raises(UsageError, match=r"missing head\.bias; not in the model: extra; other shapes: head\.w"):
        open_classifier("users_code:make", here / "w.safetensors")
    torch.save(bundle.classifier, here / "whole.pt")
    (here / "text.pt").write_text("weights")
    torch.save([1, 2], here / "list.pt")
    (here / "damaged.pt").write_bytes((here / "list.pt").read_bytes()[:200])
    for name, sentence in (
        ("whole.pt", "contains pickled objects, which could run code; save only the weights"),
        ("text.pt", "is neither a safetensors file nor a checkpoint"),
        ("list.pt", "contains no weights .a list."),
        ("damaged.pt", "is damaged, so torch.load cannot read it"),
        ("absent.pt", "could not be read .no such file or directory."),
    ):
        with pytest.raises(UsageError, match=f"{name}: {sentence}"):
            open_classifier("users_code:make", here / name)


# What is no classifier.


def test_what_is_no_classifier_is_one_sentence(exported: Path, tmp_path: Path, bundle: Bundle) -> None:
    torch.save(bundle.classifier, tmp_path / "whole.pt")
    torch.save(bundle.classifier.state_dict(), tmp_path / "state.pt")
    save_file({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "state.safetensors")
    (tmp_path / "text.pt2").write_text("a model, honestly, but in words alone")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme/hello.txt", "hello")
    content = (exported / "dynamic.pt2").read_bytes()
    (tmp_path / "damaged.pt2").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.pt2").write_bytes(content[:900] + bytes(len(content[900:1500])) + content[1500:])
    bring = "bring a .pt2, TorchScript or .onnx file"
    for name, sentence in (
        ("whole.pt", "is a pickled model, which could run code; convert it, where its code is, with torch.export.save"),
        ("state.pt", r"contains \d\d weights and no model; name the code that makes the model"),
        ("state.safetensors", "contains 2 weights and no model"),
        ("text.pt2", f"is not a model; {bring}"),
        ("other.zip", f"is not a model; {bring}"),
        ("damaged.pt2", "is not a model|is damaged"),
        ("flipped.pt2", "the archive is damaged"),
        ("absent.pt2", f"there is no such file; {bring}"),
        ("", f"a directory without a config.json is not a classifier; {bring}"),
    ):
        with pytest.raises(UsageError, match=f"{tmp_path / name}: .*({sentence})") as caught:
            open_classifier(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    for spec in ("nonsense", "torchvision:", "a:b:c"):
        with pytest.raises(UsageError, match=f"{spec}: is not a classifier that cfx knows; {bring}"):
            open_classifier(spec)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "pt3"}, "unknown kind of classifier 'pt3'"),
        ({"kind": 3}, "has no kind or no name"),
        ({"file": "../elsewhere.pt2"}, "must be in the bundle's own directory"),
        ({"file": "absent.pt2"}, "file absent.pt2 is missing"),
        ({"other_files": ["absent.data"]}, "file absent.data is missing"),
        ({"file": None}, "names no file"),
        ({"kind": "factory", "name": "os.system"}, "is not a package.module:factory"),
        ({"kind": "torchscript"}, "could not load this TorchScript"),
        ({"preprocessing": {"channels": 2}}, "channels is 2"),
    ],
)
def test_a_bad_entry_is_one_sentence(exported: Path, tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    entry = kept(open_classifier(str(exported / "dynamic.pt2")), tmp_path) | change
    with pytest.raises(BundleError, match=f"bundle {tmp_path}: .*{sentence}"):
        reopen(entry, tmp_path)


# Libraries.


def test_torchvision_declares_its_preprocessing(tmp_path: Path, digits: Digits) -> None:
    foreign = open_classifier("torchvision:squeezenet1_1@none")
    assert foreign.preprocessing == Preprocessing(
        3, (224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bilinear"
    )
    assert foreign.classes is None  # random weights know no classes
    again = reopen(kept(foreign, tmp_path), tmp_path)
    images = digits[0][:2]
    with torch.no_grad():
        assert torch.equal(adapted(again)(images), adapted(foreign)(images))
    assert has_gradients(adapted(again), images)


def test_torchvision_with_weights_from_a_file(tmp_path: Path, digits: Digits) -> None:
    import torchvision

    own = torchvision.models.squeezenet1_1(num_classes=10).eval()
    torch.save({"model": own.state_dict()}, tmp_path / "own.pt")
    foreign = open_classifier("torchvision:squeezenet1_1", tmp_path / "own.pt")
    assert foreign.classes is None and foreign.preprocessing is not None
    images = digits[0][:2]
    with torch.no_grad():
        assert torch.equal(adapted(foreign)(images), own(foreign.preprocessing.to_input(images)))
    again = reopen(kept(foreign, tmp_path / "bundle"), tmp_path / "bundle")
    with torch.no_grad():
        assert torch.equal(adapted(again)(images), adapted(foreign)(images))

    full = torchvision.models.squeezenet1_1()
    torch.save(full.state_dict(), tmp_path / "full.pt")
    classes = open_classifier("torchvision:squeezenet1_1@IMAGENET1K_V1", tmp_path / "full.pt").classes
    assert classes is not None and len(classes) == 1000 and classes[0] == "tench"


def test_torchvision_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UsageError, match=r"torchvision:alexnet: could not be loaded or downloaded .*no network here"):
        open_classifier("torchvision:alexnet")
    with pytest.raises(
        UsageError, match=r"torchvision has no classifier of this name; similar names are .*squeezenet1_1"
    ):
        open_classifier("torchvision:squeezenet11")
    with pytest.raises(UsageError, match="unknown weights of alexnet 'V7': known are DEFAULT, IMAGENET1K_V1, none"):
        open_classifier("torchvision:alexnet@V7")


@pytest.mark.parametrize(
    ("spec", "package"), [("timm:resnet18", "timm"), ("hf:some/vit", "transformers"), ("m.onnx", "onnxruntime")]
)
def test_a_missing_extra_is_one_sentence(
    spec: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what makes an import fail as if it were not there
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a")
    with pytest.raises(UsageError, match=f"{spec}: needs the package {package}; install it with `pip install"):
        open_classifier(spec)


def test_timm(tmp_path: Path, digits: Digits) -> None:
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("resnet10t", num_classes=10).state_dict(), tmp_path / "own.pt")
    foreign = open_classifier("timm:resnet10t", tmp_path / "own.pt")
    assert foreign.preprocessing is not None and foreign.preprocessing.mean == (0.485, 0.456, 0.406)
    again = reopen(kept(foreign, tmp_path), tmp_path)
    with torch.no_grad():
        logits = adapted(foreign)(digits[0][:2])
        assert logits.shape == (2, 10) and torch.equal(adapted(again)(digits[0][:2]), logits)
    with pytest.raises(UsageError, match=r"timm has no classifier of this name; similar names are .*resnet10t"):
        open_classifier("timm:resnet10tt")


def test_hugging_face(tmp_path: Path, digits: Digits) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        num_channels=1, id2label={0: "round", 1: "straight", 2: "both"},
    )  # fmt: skip
    own = transformers.ViTForImageClassification(config).eval()
    own.save_pretrained(tmp_path / "vit")
    rules = {"size": {"height": 32, "width": 32}, "image_mean": [0.25], "image_std": [0.5], "resample": 3,
             "rescale_factor": 1 / 255, "do_normalize": True, "image_processor_type": "ViTImageProcessor"}  # fmt: skip
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(rules))
    foreign = open_classifier(str(tmp_path / "vit"))
    assert foreign.classes == ("round", "straight", "both")
    assert foreign.preprocessing == Preprocessing(1, (32, 32), mean=(0.25,), std=(0.5,), interpolation="bicubic")
    again = reopen(kept(foreign, tmp_path / "bundle"), tmp_path / "bundle")
    with torch.no_grad():
        logits = adapted(foreign)(digits[0][:2])
        assert torch.allclose(logits, own(foreign.preprocessing.to_input(digits[0][:2])).logits, atol=1e-5)
        assert torch.equal(adapted(again)(digits[0][:2]), logits)
    assert has_gradients(adapted(again), digits[0][:2])
    os.remove(tmp_path / "vit" / "model.safetensors")
    torch.save(own.state_dict(), tmp_path / "vit" / "pytorch_model.bin")
    with pytest.raises(UsageError, match="could not be loaded or downloaded"):
        open_classifier(str(tmp_path / "vit"))  # a pickle, where safetensors are asked for


@pytest.mark.parametrize("opset", [17, 20])
def test_onnx(tmp_path: Path, bundle: Bundle, digits: Digits, opset: int) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    images, path = torch.rand(4, 1, 28, 28), tmp_path / "digits.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if opset == 17:  # what torch exported until 2.8, which onnx2torch reads
            axes = {"images": {0: "n"}}
            torch.onnx.export(
                bundle.classifier, (images,), str(path), dynamo=False, opset_version=opset, input_names=["images"],
                dynamic_axes=axes,
            )  # fmt: skip
        else:
            torch.onnx.export(bundle.classifier, (images,), str(path), dynamo=True, verbose=False)
    foreign = open_classifier(str(path))
    assert foreign.preprocessing == Preprocessing(1, (28, 28)) and foreign.fixed_batch == (None if opset == 17 else 4)
    gradients = opset == 17 and "onnx2torch" in sys.modules
    check_same(foreign, bundle, digits, gradients)
    check_same(reopen(kept(foreign, tmp_path / "bundle"), tmp_path / "bundle"), bundle, digits, gradients)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CfxError, match="onnxruntime could not load it"):
        open_classifier(str(path))


class Tied(nn.Module):
    """A network whose head has the same weights as its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 4, bias=False)
        self.head.weight = self.embedding.weight


def test_tied_weights_are_read_under_both_names(tmp_path: Path):
    from safetensors.torch import save_model

    from cfx.classifiers.foreign.checkpoints import load_weights, read_weights

    model, path = Tied(), tmp_path / "tied.safetensors"
    save_model(model, str(path))
    tensors = read_weights(path)
    assert tensors.keys() == {"embedding.weight", "head.weight"}
    other = Tied()
    load_weights(other, tensors, str(path))
    assert torch.equal(other.head.weight, model.head.weight)


@pytest.mark.parametrize("length", range(120, 140))
def test_safetensors_of_every_length_of_header_are_no_pickles(tmp_path: Path, length: int):
    """A header of 128 bytes gives the file the first byte of a pickle."""
    from cfx.classifiers.foreign.checkpoints import looks_pickled, read_weights

    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata={"padding": "x" * (length - 90)})
    assert not looks_pickled(path.read_bytes())
    assert read_weights(path).keys() == {"weight"}
    torch.save({"weight": torch.ones(2)}, path)
    assert looks_pickled(path.read_bytes())
