"""Certificates and keys of a federation: whom they name, who may read them, what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from solver.plan import InputError, write
from tests.finetune.runs import make_plan

x509 = pytest.importorskip("cryptography.x509")
keys = pytest.importorskip("finetune.flower.keys")


def call(folder: Path, plan: Path, *options: str) -> Result:
    return CliRunner().invoke(keys.main, [str(folder), "--plan", str(plan), *options])


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    write(path, make_plan(shapes=((0, 0, 4), (0, 2, 3)), devices=3))
    return path


def test_the_certificate_names_each_host_once_and_secrets_are_the_owners_alone(
    plan: Path, tmp_path: Path
) -> None:
    longer_than_a_common_name = "a" * 40 + "." + "b" * 40 + ".example.org"
    hosts = ("--host", longer_than_a_common_name, "--host", "10.0.0.7", "--host", "localhost")
    done = call(tmp_path / "keys", plan, *hosts)
    assert done.exit_code == 0, done.output
    data = (tmp_path / "keys/tls/server.crt").read_bytes()
    server = x509.load_pem_x509_certificate(data)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [
        longer_than_a_common_name,
        "10.0.0.7",
        "localhost",
        "127.0.0.1",
    ]
    authority = x509.load_pem_x509_certificate((tmp_path / "keys/tls/ca.crt").read_bytes())
    server.verify_directly_issued_by(authority)
    written = sorted(path for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert len(written) == 3 + 2 * 2  # one of three devices takes no part
    for path in written:
        assert path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".key" else 0o644)


@pytest.mark.parametrize("host", ["", "hôte"])
def test_a_host_that_no_certificate_can_name_is_one_line(
    plan: Path, tmp_path: Path, host: str
) -> None:
    done = call(tmp_path / "keys", plan, "--host", host)
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert f"host '{host}' cannot be in a certificate" in done.output


def test_what_cannot_be_written_is_one_line_and_nothing_is_replaced(
    plan: Path, tmp_path: Path
) -> None:
    for place in (plan / "keys", plan):
        with pytest.raises(InputError, match=r"ca\.crt: cannot be written") as raised:
            keys.make_tls(place, ["localhost"], 1)
        assert "\n" not in str(raised.value)
    (before,) = keys.make_node_keys(tmp_path, ["van"])[:1]
    content = before.read_bytes()
    with pytest.raises(InputError, match="is there already; choose another folder") as raised:
        keys.make_node_keys(tmp_path, ["van"])
    assert "\n" not in str(raised.value)
    assert before.read_bytes() == content
    for name in ("../van", "a\0b", "a\n/b"):
        with pytest.raises(InputError, match="cannot name a file") as raised:
            keys.make_node_keys(tmp_path, [name])
        assert "\n" not in str(raised.value)
