"""Gain tables measured on data: what goes into the profile, and what stays."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.profile import profile as command
from profiler.derive import derive_profile
from profiler.gain import probe
from profiler.gain.data import Source
from profiler.gain.measure import METHODS, measure_gain
from profiler.schema import InputError, Profile, Training, read_profile, write
from tests.finetune.runs import save_model, write_reviews

TRAINING = Training(batch_size=8, sequence_length=8)
CAUSAL = Training(batch_size=8, sequence_length=8, task="causal-lm", labels=0)


@pytest.fixture(autouse=True)
def fast_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tiny random layers have next to nothing to say: let what is trained move far.
    monkeypatch.setattr(probe, "LEAST_STEPS", 40)
    monkeypatch.setattr(probe, "LEARNING_RATE", 3e-2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", "bert")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_reviews(tmp_path / "reviews.csv")


def profile_of(folder: Path, training: Training = TRAINING) -> Profile:
    return derive_profile(str(folder), "jetson-tx2", training=training)


def content(made: Profile) -> dict[str, Any]:
    """The profile but for the seconds it took."""
    fields: dict[str, Any] = msgspec.to_builtins(made)
    del fields["provenance"]["options"]["gain_s"]
    return fields


@pytest.mark.parametrize("method", METHODS)
def test_all_layers_at_rank_16_are_worth_one_and_costs_stay(
    method: str, model: Path, data: Path
) -> None:
    before = profile_of(model)
    made = measure_gain(before, str(model), Source(data), method, examples=120)
    column = made.gain.ranks.index(16)
    assert sum(row[column] for row in made.gain.by_layer) == pytest.approx(1)
    assert (made.time, made.memory, made.lora) == (before.time, before.memory, before.lora)
    record = made.provenance
    assert record.origins["gain"].kind == "measured"
    assert record.origins["gain"].source == made.gain.method
    assert record.options["gain_method"] == method
    assert record.options["gain_examples"] == "120"
    assert {"reviews.csv", "config.json"} == {file.name for file in record.inputs}


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_settles_everything(method: str, model: Path, data: Path) -> None:
    first, second, other = (
        measure_gain(profile_of(model), str(model), Source(data), method, examples=120, seed=s)
        for s in (3, 3, 4)
    )
    assert content(first) == content(second)
    assert first.gain.by_layer != other.gain.by_layer


@pytest.mark.parametrize("method", ["gradient-energy", "fisher"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_decoders_are_measured_on_their_own_loss(
    method: str, family: Any, tmp_path: Path, data: Path
) -> None:
    folder = save_model(tmp_path / family, family)
    made = measure_gain(
        profile_of(folder, CAUSAL), str(folder), Source(data), method, examples=32
    )
    assert all(row[0] > 0 for row in made.gain.by_layer)


def test_another_model_than_the_profiles_is_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    other = save_model(tmp_path / "other", "bert", layers=2)
    with pytest.raises(InputError, match="not the one of"):
        measure_gain(profile_of(model), str(other), Source(data), "fisher")


def test_too_few_examples_are_refused(model: Path, data: Path) -> None:
    with pytest.raises(InputError, match="expected 16 or more"):
        measure_gain(profile_of(model), str(model), Source(data), "fisher", examples=3)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_gain_alone_is_measured_anew_and_put_back(
    model: Path, data: Path, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{name}.json" for name in "pqr")
    write(first, profile_of(model))
    result = run(model, "--gain", "fisher", "--data", data, "--into", first, "-o", second)
    assert result.exit_code == 0, result.output
    old, new = read_profile(first), read_profile(second)
    assert new.gain != old.gain
    assert (new.time, new.memory, new.training) == (old.time, old.memory, old.training)
    result = run(model, "--into", second, "-o", third)
    assert result.exit_code == 0, result.output
    back = read_profile(third)
    assert back.gain == old.gain
    assert back.provenance.origins["gain"].kind == "derived"
    assert "gain_s" not in back.provenance.options


def test_a_derived_profile_takes_a_measured_gain(
    model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.json"
    result = run(
        *(model, "--derive", "--hardware", "jetson-tx2", "--sequence-length", 8, "-o", out),
        *("--gain", "gradient-energy", "--data", data, "--gain-examples", 32),
    )
    assert result.exit_code == 0, result.output
    assert read_profile(out).provenance.options["gain_examples"] == "32"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--gain", "fisher"], "needs --data"),
        (["--gain", "fisher", "--data", "absent.csv"], "no such file"),
        (["--data", "absent.csv"], "add --gain METHOD"),
        (["--gain-examples", "9"], "add --gain METHOD"),
        (["--into", "p.json", "--batch-size", "2"], "keeps those of a profile"),
        (["--gain", "default", "--check"], "give one"),
        (["--into", "absent.json"], "no such file"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_once(
    arguments: list[str], line: str, model: Path, tmp_path: Path
) -> None:
    result = run(model, "-o", tmp_path / "p.json", *arguments)
    assert isinstance(result.exception, InputError)
    assert line in str(result.exception)
    assert not (tmp_path / "p.json").exists()
