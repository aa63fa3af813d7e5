"""The options that say what a tensorfile was made from, for the commands that make its images again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from int8cal.cli import console
from int8cal.cli.options import decorated

if TYPE_CHECKING:
    from int8cal.check.rebuild import Claim

claim_options = decorated(
    click.option(
        "-e",
        "--experiment_spec_file",
        "--experiment_spec",
        "spec",
        metavar="SPEC",
        help="Make the images again from this spec and its data, and compare every bit.",
    ),
    click.option("--use_validation_set", is_flag=True, help="With -e: the file is of the validation split."),
    click.option(
        "--seed",
        type=int,
        metavar="S",
        help="With -e: seed of the sample order.  [default: the manifest's, else the spec's]",
    ),
    click.option(
        "--cal_image_dir", metavar="DIR", help="With -e: the images are from this folder, not from the spec's data."
    ),
    click.option("--any_order", is_flag=True, help="With -e: accept the images in any order."),
)
"""Adds the options to a command, whose function passes them on to `claim_of`."""


def claim_of(
    *, spec: str | None, use_validation_set: bool, seed: int | None, cal_image_dir: str | None, any_order: bool
) -> Claim | None:
    """What the options say; None without ``-e``."""
    from int8cal.check.rebuild import Claim
    from int8cal.origins.experiment import read_spec

    if spec is None:
        if use_validation_set or any_order or cal_image_dir or seed is not None:
            raise click.UsageError("--use_validation_set, --seed, --cal_image_dir and --any_order are for -e SPEC")
        return None
    read = read_spec(spec)
    for warning in read.warnings:
        console.note(f"warning: {warning}")
    return Claim(
        read,
        split="validation" if use_validation_set else None,
        seed=seed,
        cal_image_dir=cal_image_dir,
        any_order=any_order,
    )
