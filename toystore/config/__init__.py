"""The YAML file as typed, checked values.

`load` reads a file once.  It returns a `ClusterConfig`, which needs no further check, or raises
a `ConfigError` that lists every error in the file:

    members[2].client_port: 70420 given; should be less than or equal to 65535
    swim.probe_perod_s: unknown key; did you mean probe_period_s?
    scenario[0].node: 'n99' is not a member; the members are n1, n2, n3

    plain_yaml.py    YAML as plain values; a value that is not what it looks like is an error
    short_forms.py   short forms in full; names and ports that two members claim
    sections.py      the mappings of the file; values.py has the types of their values
    steps.py         the steps of a scenario
    cluster.py       the whole file, and the rules between sections
    faults.py        the texts of the errors that pydantic finds
    loading.py       these steps in turn; the errors of all of them are reported together

Defaults are those of the dataclasses in ``toystore/core/protocol/settings.py``;
docs/CONFIGURATION.md describes every key.
"""

from __future__ import annotations

from toystore.config.cluster import SECTIONS, ClusterConfig, keys_of
from toystore.config.errors import ConfigError
from toystore.config.loading import load, parse
from toystore.config.sections import LOAD_KEY, LoadConfig, MemberConfig
from toystore.config.steps import Step
from toystore.core.ring.record import PORTS

__all__ = [
    "LOAD_KEY",
    "PORTS",
    "SECTIONS",
    "ClusterConfig",
    "ConfigError",
    "LoadConfig",
    "MemberConfig",
    "Step",
    "keys_of",
    "load",
    "parse",
]
