"""The YAML file as typed, checked values.

`load` reads a file once and either returns a `ClusterConfig`, on which nobody has to
check anything again, or raises a `ConfigError` that lists every fault in it:

    members[2].client_port: 70420 given; should be less than or equal to 65535
    swim.probe_perod_s: unknown key; did you mean probe_period_s?
    scenario[0].node: 'n99' is not a member; the members are n1, n2, n3

    plain_yaml.py    YAML as plain values; what is not read as it looks is a fault
    short_forms.py   short forms in full; names and ports that two members claim
    sections.py      the mappings of the file, of the values in values.py
    cluster.py       the whole file, and what ties one section to another
    faults.py        the texts of the faults that pydantic finds
    loading.py       these steps in turn; the faults of all of them are reported together

Defaults are those of the dataclasses in ``toystore/core/protocol/settings.py``;
docs/CONFIGURATION.md describes every key.
"""

from __future__ import annotations

from toystore.config.cluster import SECTIONS, ClusterConfig, keys_of
from toystore.config.errors import ConfigError
from toystore.config.loading import load, parse
from toystore.config.sections import LOAD_KEY, PORTS, LoadConfig, MemberConfig, Step

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
