"""The texts of the errors that pydantic finds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pydantic_core import ErrorDetails

from toystore.config.cluster import keys_of
from toystore.config.errors import FaultsError
from toystore.config.plain_yaml import dotted


def describe(fault: ErrorDetails) -> list[str]:
    """A line for an error of pydantic's; several lines if our own check found several."""
    path = tuple(part for part in fault["loc"] if part != "[key]")
    value = fault["input"]
    given = "nothing given" if value is None else f"{value!r:.60} given"
    match fault["type"]:
        case "missing":
            text = "missing; there is no default (null and ~ are nothing, unless in quotes)"
        case "extra_forbidden":
            text = f"unknown key; {_advice(path)}"
        case "value_error" if isinstance(fault["ctx"]["error"], FaultsError):
            return [f"{dotted(path)}: {text}" for text in fault["ctx"]["error"].texts]
        case "value_error":
            text = str(fault["ctx"]["error"])
        case "too_short":
            text = "missing or empty; should list one at least"
        case "string_type" | "invalid_key" if isinstance(value, int | float):
            text = f"{given}; should be text: write it in quotes"
        case "string_type" if isinstance(value, list):
            text = f"{given}, as brackets make it a list; should be text: write it in quotes"
        case "model_type" if path[0] == "members" and isinstance(value, int | float):
            text = f"{given}; should be a name, so write it in quotes, or a mapping"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = f"{given}; should be a mapping of keys to values"
        case "tuple_type":
            text = f"{given}; should be a list"
        case _:
            text = f"{given}; {fault['msg'].removeprefix('Input ')}"
    return [f"{dotted(path)}: {text}"]


def path_of(fault: str) -> str:
    """The path of an error."""
    return fault.partition(": ")[0]


def _advice(path: Sequence[str | int]) -> str:
    """The key that may have been meant by the last one of ``path``."""
    section = str(path[0]) if len(path) > 1 else ""
    keys = list(keys_of(section))
    close = difflib.get_close_matches(str(path[-1]), keys, n=1)
    return f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(keys)}"
