"""From a file to a `ClusterConfig`, or to all its errors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from toystore.config.cluster import ClusterConfig
from toystore.config.errors import ConfigError
from toystore.config.faults import describe, path_of
from toystore.config.plain_yaml import UnreadableError, read
from toystore.config.short_forms import conflicts, names_of, newcomers, spell_out
from toystore.config.values import Names


def load(path: str | Path) -> ClusterConfig:
    """The configuration in the YAML file at ``path``.  Raises `ConfigError`."""
    try:
        raw, faults = read(Path(path))
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    return parse(raw, faults)


def parse(raw: object, faults: Sequence[str] = ()) -> ClusterConfig:
    """The configuration in plain values; ``faults`` are already known.  Raises `ConfigError`."""
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(*faults, f"the file: holds {kind}; should be a mapping of keys to values")
    whole = spell_out(raw)
    found = [*faults, *conflicts(whole["members"])]
    told = {path_of(fault) for fault in faults}
    try:
        names = Names(names_of(whole["members"]), newcomers(whole.get("scenario")))
        config = ClusterConfig.model_validate(whole, context=names)
    except ValidationError as error:
        lines = itertools.chain.from_iterable(map(describe, error.errors(include_url=False)))
        found += [line for line in lines if path_of(line) not in told]
    if found:
        raise ConfigError(*found)
    return config
