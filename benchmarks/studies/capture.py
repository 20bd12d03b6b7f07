"""Captures all results of a version of cfx through the command line, and compares them with those of another version.

    python benchmarks/studies/capture.py take OUT --cfx CHECKOUT/.venv/bin/cfx --data DIR   # once for each version
    python benchmarks/studies/capture.py compare OUT OTHER                                  # exit code 1: they differ
    python benchmarks/studies/capture.py digests OUT > benchmarks/studies/capture-VERSION.json

`take` runs `cfx bench` with five engines and the controls on 200 questions of each shipped bundle, runs `cfx explain`
with every engine on some of the same images, and stores the checksums of the shipped files, all in OUT. `digests`
prints a summary that is short enough to commit; it is valid for one machine and one version of torch. `compare` allows
for rounding. The script needs only the standard library, so it runs in any Python with any version of cfx.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BUNDLES = ("mnist", "fashion-mnist")
ENGINES = ("latent", "diffeo", "vcnet", "projection", "pixel")
QUESTIONS = 200
BATCH = 50
EXPLAINED = 10  # images that `cfx explain` is run on, too

TOLERANCE = 1e-5  # relative
VARYING = {
    *("seconds", "images_per_second", "peak_memory_mb", "begun", "versions", "version", "command", "machine"),
    *("python", "torch", "directory", "devices", "unavailable", "schema", "goal", "place", "notes", "missing"),
    *("gates", "finished", "records", "p95"),
}
"""Keys that are not compared: times, memory, dates, versions and places, which vary; and keys of some schemas only."""
COUNTED = {"realism_percentile", "knn_agreement", "judge_agrees", "looks_real", "valid", "robust_noise", "l0"}
"""Metrics that count something, so that rounding can change them by a whole step."""
MOST_COUNTED = 2  # values of these metrics that may differ in each bundle's 1,000 records


def take(out: Path, cfx: str, data: Path, threads: int, count: int) -> None:
    """Run the commands, except for those that were finished before."""
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}

    def run(*arguments: str) -> str:
        print("cfx", *arguments, file=sys.stderr, flush=True)
        done = subprocess.run([cfx, *arguments], cwd=out, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"cfx {' '.join(arguments)}: exit code {done.returncode}")
        return done.stdout

    (out / "info.json").write_text(run("info", "--format", "json"), encoding="utf-8")
    information = json.loads((out / "info.json").read_text(encoding="utf-8"))
    files = {about["name"]: checksums(Path(about["directory"])) for about in information["bundles"]}
    (out / "files.json").write_text(json.dumps(files, indent=1), encoding="utf-8")
    for bundle in BUNDLES:
        engines = ",".join(ENGINES)
        run(
            *("bench", "--bundle", bundle, "--engines", engines, "-n", str(count), "--data", str(data.resolve())),
            *("--batch-size", str(BATCH), "--seed", "0", "--controls", "--device", "cpu", "--out", f"bench-{bundle}"),
        )
        if not (out / f"explain-{bundle}.jsonl").exists():
            factuals = sorted((out / f"bench-{bundle}" / "images" / "factual").glob("*.png"))[:EXPLAINED]
            images = [str(path.relative_to(out)) for path in factuals]
            answers = run(
                *("explain", *images, "--bundle", bundle, "--engine", "all", "--path", "--html", "--format", "json"),
                *("--device", "cpu", "--out", f"explain-{bundle}"),
            )
            (out / f"explain-{bundle}.jsonl").write_text(answers, encoding="utf-8")


def checksums(directory: Path) -> dict[str, str]:
    """sha256 of each file in a directory, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.*"))}


def pictures(out: Path, bundle: str) -> dict[str, str]:
    """sha256 of every picture of a bundle's answers, by its path."""
    found = [*(out / f"bench-{bundle}" / "images").rglob("*.png"), *(out / f"explain-{bundle}").glob("*.*g*")]
    # The overview of all engines is left out, because it shows the seconds of each search.
    chosen = [path for path in sorted(found) if path.suffix in (".png", ".gif") and ".engines." not in path.name]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen}


def records(out: Path, bundle: str) -> dict[str, object]:
    """The records of a bundle's answers, by engine and question, and its summary."""
    result: dict[str, object] = {}
    for line in (out / f"bench-{bundle}" / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = as_schema_2(json.loads(line))
        result[f"bench {record['engine']} {record['pair']:04d}"] = record
    for line in (out / f"explain-{bundle}.jsonl").read_text(encoding="utf-8").splitlines():
        record = as_schema_2(json.loads(line))
        result[f"explain {record['engine']} {record['input']}"] = record
    result["summary"] = json.loads((out / f"bench-{bundle}" / "summary.json").read_text(encoding="utf-8"))
    return dict(sorted(result.items()))


def as_schema_2(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1 or 2, with the names of schema 2."""
    if "target_confidence" in record:
        return dict(record)
    result = {**record, "target_confidence": record["confidence"], "metrics": dict(record["metrics"])}
    del result["confidence"]
    for name in ("judge_agrees", "judge_confidence", "looks_real"):
        if name in result:
            result["metrics"][name] = result.pop(name)
    for name in ("factual", "counterfactual"):
        seen = record[name]
        result[name] = {"class": seen.get("class", seen.get("name")), "confidence": seen["confidence"]}
    if "image" in record:
        result["files"] = {"factual": result.pop("factual_image"), "counterfactual": result.pop("image")}
    return result


def values(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a document with its path, without the keys that vary."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key not in VARYING:
                yield from values(value, f"{path}.{key}" if path else str(key))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from values(value, f"{path}[{place}]")
    else:
        yield path, document


def digests(out: Path) -> dict[str, object]:
    """The checksums of the shipped files, and a digest of each engine's pictures and records."""

    def digest(content: Any) -> str:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    result: dict[str, object] = {"files": json.loads((out / "files.json").read_text(encoding="utf-8"))}
    for bundle in BUNDLES:
        drawn, recorded = pictures(out, bundle), records(out, bundle)
        result[bundle] = {
            "pictures": {
                engine: digest(
                    {name: sha for name, sha in drawn.items() if f"/{engine}/" in name or f".{engine}." in name}
                )
                for engine in ENGINES
            },
            "records": {
                engine: digest([list(values(record)) for key, record in recorded.items() if f" {engine} " in key])
                for engine in ENGINES
            },
            "summary": digest(list(values(recorded["summary"]))),
        }
    return result


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal apart from rounding."""
    if isinstance(one, float) or (isinstance(other, float) and isinstance(one, int | float)):
        return isinstance(other, int | float) and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12)
    return one == other


def compare(one: Path, other: Path) -> int:
    """Print the differences between two captures, and return the exit code."""
    differs = False
    for name in ("files.json", "info.json"):
        documents = [dict(values(json.loads((out / name).read_text(encoding="utf-8")))) for out in (one, other)]
        changed = sorted(set(documents[0].items()) ^ set(documents[1].items()))
        print(f"{name}: {len(changed)} differences", *changed[:10], sep="\n  " if changed else "")
        differs |= bool(changed)
    for bundle in BUNDLES:
        drawn = [pictures(out, bundle) for out in (one, other)]
        names = drawn[0].keys() | drawn[1].keys()
        changed = sorted(name for name in names if drawn[0].get(name) != drawn[1].get(name))
        print(f"{bundle}: {len(changed)} of {len(names)} pictures differ", *changed[:10], sep="\n  ")
        recorded = [records(out, bundle) for out in (one, other)]
        counted, wrong, compared = [], [], 0
        for key in sorted(recorded[0].keys() | recorded[1].keys()):
            here, there = (dict(values(side.get(key, {}))) for side in recorded)
            for path in sorted(here.keys() | there.keys()):
                compared += 1
                if not same(here.get(path), there.get(path)):
                    metric = path.rpartition(".")[2]
                    allowed = metric in COUNTED and key != "summary"
                    (counted if allowed else wrong).append(f"{key}: {path}: {here.get(path)} {there.get(path)}")
        print(f"{bundle}: {len(wrong)} of {compared} values differ, and {len(counted)} counts", sep="")
        print(*wrong[:20], *counted, sep="\n  ")
        differs |= bool(changed or wrong) or len(counted) > MOST_COUNTED
    return int(differs)


def main() -> int:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("take")
    taking.add_argument("out", type=Path)
    taking.add_argument("--cfx", required=True, help="cfx command of the version to capture")
    taking.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    taking.add_argument("--threads", type=int, default=1)
    taking.add_argument("-n", "--count", type=int, default=QUESTIONS)
    comparing = commands.add_parser("compare")
    comparing.add_argument("one", type=Path)
    comparing.add_argument("other", type=Path)
    commands.add_parser("digests").add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "take":
        take(options.out, options.cfx, options.data, options.threads, options.count)
    elif options.command == "compare":
        return compare(options.one, options.other)
    else:
        print(json.dumps(digests(options.out), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
