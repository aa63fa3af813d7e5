"""What a plan is made from: an experiment spec, or whatever else gives samples, their order and an arithmetic.

Each kind of origin beside the experiment spec is a folder here, whose name is what the manifest calls it.
"""

from __future__ import annotations

import pkgutil

from int8cal import networks


def names() -> frozenset[str]:
    """What the manifest of a tensorfile can name as its origin: the networks, and the other kinds."""
    return networks.names() | {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}
