"""Certificates and keys of a federation: ``python -m finetune.flower.keys DIR --plan PLAN``.

For networks of one's own; where there is a certificate authority already, use its. Needs
``cryptography``, which comes with Flower.

``DIR/tls``: ``ca.crt`` (goes to every device), ``server.crt``, ``server.key`` (the server's
own). ``DIR/nodes``: ``NAME.key`` (goes to that device alone) and ``NAME.pub`` for each device
that takes part. The authority's own key is thrown away: new certificates, new authority.
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from finetune.devices import participants
from solver.plan import InputError, read_plan

__all__ = ["make_node_keys", "make_tls"]

HOME = ("localhost", "127.0.0.1")
MOST_DAYS = 36500  # a century; dates end at the year 9999


def make_tls(folder: Path, hosts: Sequence[str], days: int) -> list[Path]:
    """Make a certificate authority and the server's certificate for these names or addresses.

    Returns
    -------
    list of Path
        The files written; none is replaced.
    """
    authority, server = _key(), _key()
    ca_name = _name("LEGEND federation")
    ca = _certificate(ca_name, ca_name, authority, authority, days, ca=True)
    names = [_general_name(host) for host in dict.fromkeys([*hosts, *HOME])]
    own = _certificate(_name("LEGEND server"), ca_name, server, authority, days, names=names)
    pem = serialization.Encoding.PEM
    return [
        _write(folder / "ca.crt", ca.public_bytes(pem), 0o644),
        _write(folder / "server.crt", own.public_bytes(pem), 0o644),
        _write(folder / "server.key", _private(server), 0o600),
    ]


def make_node_keys(folder: Path, devices: Sequence[str]) -> list[Path]:
    """Make a pair of keys for each device; the files are called after it."""
    written = []
    for device in devices:
        if Path(device).name != device or "\0" in device:
            raise InputError(f"device {device!r} cannot name a file; rename it in the fleet")
        key = _key()
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        private = _private(key, serialization.PrivateFormat.OpenSSH)
        written.append(_write(folder / f"{device}.key", private, 0o600))
        written.append(_write(folder / f"{device}.pub", public + b"\n", 0o644))
    return written


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _private(
    key: ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
) -> bytes:
    plain = serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, plain)
    return data


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        if not host:
            raise ValueError("it is empty")
        return x509.DNSName(host)
    except ValueError as error:
        raise InputError(
            f"host '{host}' cannot be in a certificate ({error}); expected an address or a "
            "name of ASCII letters"
        ) from None


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    ca: bool = False,
    names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=ca,
                crl_sign=ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(authority, hashes.SHA384())


def _write(path: Path, data: bytes, mode: int) -> Path:
    """Write a new file, readable by whom `mode` says from its first moment on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        reason = (
            "is there already"
            if path.exists() and isinstance(error, FileExistsError)
            else f"cannot be written ({error.strerror})"
        )
        raise InputError(f"{path}: {reason}; choose another folder") from None
    return path


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--plan", type=click.Path(path_type=Path), required=True, help="Its devices.")
@click.option(
    "--host", "hosts", multiple=True, required=True, help="Name or address of the server."
)
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=90, show_default=True, help="Validity."
)
def main(folder: Path, plan: Path, hosts: tuple[str, ...], days: int) -> None:
    """Make certificates and keys in FOLDER for the devices of a plan."""
    try:
        devices = [device.name for device in participants(read_plan(plan))]
        paths = [
            *make_tls(folder / "tls", hosts, days),
            *make_node_keys(folder / "nodes", devices),
        ]
    except InputError as error:
        raise click.ClickException(str(error)) from None
    for path in paths:
        click.echo(f"wrote {path}", err=True)


if __name__ == "__main__":
    main()
