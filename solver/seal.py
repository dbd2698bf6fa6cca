"""The seal: a digest that ties a certificate to the question it was proven for.

A bound, a gap and a status say something of one question only, and nothing in the figures of a
plan shows that its question was widened afterwards. So the plan carries a SHA-256 of both. It
shows that one of them was edited or copied from elsewhere. It is no signature: whoever edits on
purpose can seal anew, and only solving again shows that a bound is right.

What is digested is the JSON text of ``{"certificate": ..., "question": ...}``: keys sorted, no
spaces, ASCII; fields left out that hold their default (so that a field which a later version
adds changes no seal of an earlier one) and the seal itself; whole numbers below 2^53 written
without a point, all others as Python writes them.
"""

import hashlib
import json
from functools import cache

from msgspec import Struct
from msgspec.structs import fields, replace

from solver.plan import Certificate, Question

__all__ = ["seal", "sealed"]


def seal(question: Question, certificate: Certificate) -> str:
    """Digest of a question and a certificate, whatever seal that carries already."""
    parts = {
        "certificate": _plain(replace(certificate, seal_sha256=None)),
        "question": _plain(question),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(question: Question, certificate: Certificate) -> Certificate:
    """Return the certificate with its seal."""
    return replace(certificate, seal_sha256=seal(question, certificate))


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        held = ((*each[1:], getattr(value, each[0])) for each in _fields(type(value)))
        return {name: _plain(v) for name, default, v in held if v != default}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    # A reader of JSON may take 30.0 for 30, and a caller of Python may have given it so.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, str, object], ...]:
    """Name, name in JSON and default of each field, which take long to be asked for."""
    return tuple((field.name, field.encode_name, field.default) for field in fields(kind))
