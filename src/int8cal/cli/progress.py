"""Progress of long work: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from int8cal.cli import console

if TYPE_CHECKING:
    from int8cal.types import Progress

_SECONDS_BETWEEN_LINES = 10.0


def on_stderr(what: str = "images") -> Progress:
    """The progress display that suits where stderr goes."""
    return Bar(what) if sys.stderr.isatty() else Lines(what)


class Bar:
    """A bar with count, rate and time left."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._phase = ""
        self._bar: Any = None

    def phase(self, what: str) -> None:
        """Say in front of the bar what is done."""
        self._phase = what

    def start(self, total_images: int) -> None:
        """Draw the empty bar."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total_images,
            desc=self._phase or None,
            unit=f" {self._what}",
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
        )

    def advance(self, images: int) -> None:
        """Fill it a little more."""
        self._bar.update(images)

    def finish(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.close()


class Lines:
    """One line every ten seconds: logs of jobs must not fill with carriage returns."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._phase = ""
        self._total = self._done = 0
        self._started = self._shown = 0.0

    def phase(self, what: str) -> None:
        """Say in front of each line what is done."""
        self._phase = f"{what}: "

    def start(self, total_images: int) -> None:
        """Remember when the work began."""
        self._total, self._done = total_images, 0
        self._started = self._shown = time.monotonic()

    def advance(self, images: int) -> None:
        """Print a line when it is time for one."""
        self._done += images
        now = time.monotonic()
        if now - self._shown < _SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate
        text = f"{self._phase}{self._done} of {self._total} {self._what}, {rate:.1f}/s, about {left:.0f} s left"
        console.note(text)
        console.to_log_file(text)

    def finish(self) -> None:
        """Nothing to take away."""
