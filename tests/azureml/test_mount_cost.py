"""How much a run asks of its mounts, where every question takes as long as a network does."""

from __future__ import annotations

import builtins
import os
from collections import Counter

import pytest

QUESTIONS = ("stat", "lstat", "access", "readlink")
CHANGES = ("mkdir", "rmdir", "unlink", "rename", "replace", "link", "chmod")


@pytest.fixture
def asked(monkeypatch):
    """Counts what Python asks of the file system below a folder: (kind, path below it) → how often."""

    def below(folder):
        counts = Counter()

        def watch(name, kind):
            real = getattr(os, name)

            def counted(path, *arguments, **options):
                text = os.fspath(path) if not isinstance(path, int) else ""
                if str(text).startswith(f"{folder}/") or text == str(folder):
                    counts[kind, os.path.relpath(text, folder)] += 1
                return real(path, *arguments, **options)

            monkeypatch.setattr(os, name, counted)

        for name in QUESTIONS:
            watch(name, "stat")
        for name in CHANGES:
            watch(name, "change")
        watch("open", "open")
        watch("scandir", "list")
        real_open = builtins.open

        def counted_open(file, *arguments, **options):
            if isinstance(file, str | os.PathLike) and "opener" not in options:
                text = os.fspath(file)
                if str(text).startswith(f"{folder}/"):
                    counts["open", os.path.relpath(text, folder)] += 1
            return real_open(file, *arguments, **options)

        monkeypatch.setattr(builtins, "open", counted_open)
        return counts

    return below


def total(counts, kind):
    return sum(number for (what, _), number in counts.items() if what == kind)


def test_the_output_is_asked_little_and_the_tensorfile_never_read_back(site, asked):
    site.out.mkdir()
    counts = asked(site.out)
    site.run()
    assert total(counts, "stat") <= 80  # links of every output against every input folder were 68 more
    assert total(counts, "change") <= 30
    assert total(counts, "open") <= 35
    tensorfile = str(site.tensorfile.relative_to(site.out))
    assert counts["open", tensorfile] == 0  # the page is made from the copy in scratch space
    assert site.tensorfile.with_name("calibration.tensor.html").is_file()


def test_the_page_is_that_of_the_file_itself(site):
    site.run()
    page = site.tensorfile.with_name("calibration.tensor.html")
    made = page.read_bytes()
    page.unlink()
    assert site.run().manifest.reused  # this one reads the file in the output
    assert page.read_bytes() == made


def test_each_input_folder_is_asked_a_few_times(site, asked):
    counts = asked(site.dataset.root)
    site.run(max_batches="4")
    assert max(number for (kind, _), number in counts.items() if kind == "stat") <= 6
    assert all(number == 1 for (kind, name), number in counts.items() if kind == "open" and name.endswith(".png"))
