"""The HTML report beside the tensorfile: made where the ``[report]`` extra is installed, and never a reason to fail."""

from __future__ import annotations

import logging
import os

from int8cal.errors import Int8calError, OutputExistsError, UnavailableError
from int8cal.io.file_kinds import HTML_PAGE

log = logging.getLogger(__name__)


def refuse_foreign_page(path: str) -> None:
    """Stop before the work when a page without its tensorfile is there: it would be taken for the new file's.

    Raises:
        OutputExistsError: something has the page's name.
    """
    if os.path.lexists(path):
        raise OutputExistsError("already exists, without its tensorfile", where=path)


def written_page(tensorfile: str, path: str, *, overwrite: bool) -> str | None:
    """Write the report of a finished tensorfile, unless it is there.

    Args:
        tensorfile: the finished file, or a copy of it that bears its name and can be read faster.
        path: the page.
        overwrite: replace an earlier page.

    Returns:
        The page's path; None when there is none, for a reason that the log has.
    """
    from int8cal.report.build import write_report  # heavy

    if os.path.lexists(path) and not overwrite:
        if os.path.isfile(path) and HTML_PAGE.recognises(path):
            return path
        log.warning("no report is written: %s: already exists, and is not an HTML page", path)
        return None
    try:
        write_report(tensorfile, path, overwrite=overwrite)
    except UnavailableError as error:
        log.info("no report is written: %s", error.message)
        return None
    except Int8calError as error:
        log.warning("no report is written: %s", " ".join(str(error).splitlines()))
        return None
    return path
