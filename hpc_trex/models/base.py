"""The base of all records, and the identity of one: canonical JSON (RFC 8785) and its SHA-256."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable record that refuses unknown keys and numbers that are not numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def one_line(text: str) -> str:
    """Return a text on one line that cannot steer a terminal: what is not printable becomes a blank."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


#: A text that a person may have typed, or that comes from a file that anybody may have edited.
OneLine = Annotated[str, AfterValidator(one_line)]


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 form of a record or of plain JSON data (so 3 and 3.0, 1e-4 and 0.0001 are one).

    Raises ``rfc8785.CanonicalizationError`` for NaN, infinities and integers beyond 2**53.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return rfc8785.dumps(plain)


def digest(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of :func:`canonical_json`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
