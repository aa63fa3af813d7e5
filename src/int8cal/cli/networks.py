"""``int8cal networks``: what is supported."""

from __future__ import annotations

import click

from int8cal.cli import console, endings
from int8cal.cli.options import json_option


@click.command()
@json_option
def networks(*, as_json: bool) -> None:
    """The networks that int8cal knows.

    \b
    Examples:
      int8cal networks
      int8cal networks --json
    """
    from int8cal.networks import all_networks

    known = all_networks()
    if as_json:
        console.print_json(
            {
                "networks": [
                    {
                        "name": network.name,
                        "title": network.title,
                        "default_max_batches": network.default_max_batches,
                    }
                    for network in known
                ]
            }
        )
        return
    console.print_table((network.name, network.title) for network in known)
    endings.print_next(
        "For any other model: int8cal images, with the preprocessing stated.", "int8cal spec new NETWORK"
    )
