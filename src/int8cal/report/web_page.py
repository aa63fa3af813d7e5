"""Self-contained HTML pages: no scripts, nothing from the network, every name from data escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from int8cal.io.file_kinds import HTML_PAGE
from int8cal.io.files import OutputFile
from int8cal.io.optional import need
from int8cal.io.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinja2 import Environment

_POLICY = "default-src 'none'; img-src data:; style-src '{style}'; base-uri 'none'; form-action 'none'"


def page_output(path: str, *, overwrite: bool, inputs: Iterable[str]) -> OutputFile:
    """The file for a page; enter it before the work, so that nothing is worked out which cannot be written.

    Args:
        path: the page.
        overwrite: replace an existing page, and nothing else.
        inputs: what the page is made from, which is never replaced.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
    """
    need("jinja2", "report")
    return OutputFile(path, overwrite=overwrite, inputs=inputs, replaces=HTML_PAGE)


def rendered(package: str, template: str, style: str, **values: object) -> bytes:
    """A page of a template. The same values give the same bytes.

    Args:
        package: that holds the style sheet, the template, and those that it imports.
        template: a Jinja template; it gets ``style`` and ``policy``, the content security policy that allows nothing
            but this style, and the filter ``printable`` for texts from data.
        style: the style sheet.
        values: whatever else the template wants.

    Raises:
        UnavailableError: the extra ``report`` is not installed.
    """
    environment = _environment(package)
    sheet = _resource(package, style)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = _POLICY.format(style=f"sha256-{digest}")
    html = environment.get_template(template).render(style=sheet, policy=policy, **values)
    return html.encode("utf-8", errors="backslashreplace")


@cache
def _environment(package: str) -> Environment:
    """Keeps the templates that it has compiled."""
    jinja2 = need("jinja2", "report")
    environment: Environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(lambda name: _resource(package, name)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(str(text))
    return environment


def _resource(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
