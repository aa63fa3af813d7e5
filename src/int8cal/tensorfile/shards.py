"""A tensorfile in several files: parts that hold the batches, and a small head that any reader opens as one file.

The groups of the head are HDF5 external links to its siblings ``<name>-00000-of-00004-1f2e3d4c`` …, each of which is a
tensorfile of its own with batches numbered from 0. The head's manifest declares them (`layout.Part`),
so that a missing or changed one is noticed; virtual datasets, which read a missing part as zeros, are never used.

The name of a part ends with the beginning of its SHA-256. So new parts never take the names of those that an older head
declares, which stays sound until the new head replaces it in one step; and what a run left behind that died while its
parts got their names has the very names and bytes that the next such run gives them.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from int8cal.errors import TensorFileError, UsageError
from int8cal.io.file_kinds import TENSORFILE
from int8cal.io.files import OutputFile
from int8cal.io.paths import kind_of_file, remove_remains
from int8cal.io.signals import uninterrupted
from int8cal.tensorfile import layout
from int8cal.tensorfile.writer import TensorFileWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from int8cal.tensorfile.chunks import Compression


_DIGITS = 8
"""Of the SHA-256 of a part in its name."""


class _PartOutput(OutputFile):
    """The output of one part. It gets its final name when its content is known.

    Args:
        head: final name of the head file.
        part: number of the part, from 0.
        parts: how many there are.
        scratch_dir: as `OutputFile`.
    """

    def __init__(self, head: str, part: int, parts: int, *, scratch_dir: str | None) -> None:
        super().__init__(f"{head}-{part:05d}-of-{parts:05d}", scratch_dir=scratch_dir)
        self._sha256: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether it has content: fewer parts are needed when many images were left out."""
        return self._sha256 is not None

    def finish(self) -> str:
        """Name it after what was written to it.

        Returns:
            SHA-256 of its content.
        """
        with open(self.scratch, "rb") as file:
            self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.path = f"{self.path}-{self._sha256[:_DIGITS]}"
        return self._sha256

    def commit(self) -> None:
        """As `OutputFile.commit`; a file that has the name and the very content stays as it is."""
        if not self._is_there():
            super().commit()

    def withdraw(self) -> None:
        """As `OutputFile.withdraw`, if `commit` made the file."""
        if self._published:
            super().withdraw()

    def _refuse_taken_name(self) -> None:
        if self.is_used:
            super()._refuse_taken_name()
            return
        try:  # whether such a name can be had
            kind_of_file(f"{self.path}-{'0' * _DIGITS}")
        except OSError as error:
            raise self._cannot("write here", error) from error

    def _is_there(self) -> bool:
        with suppress(OSError):
            if kind_of_file(self.path) == "a file":
                with open(self.path, "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest() == self._sha256
        return False


class TensorFileOutput(OutputFile):
    """An `OutputFile` that may have parts. All have their final names when all are complete, the head as the last.

    Args:
        path: final name of the tensorfile.
        shards: number of parts; None: everything is in the one file.
        overwrite: replace existing files, as far as they are tensorfiles, or empty.
        scratch_dir: write there, and copy to the target's folder at `commit`.
        inputs: files that it must not be.

    Raises:
        UsageError: the number of parts is out of range.
        OutputExistsError, OutputError: as `OutputFile`, for the parts as well.
    """

    def __init__(
        self,
        path: str,
        *,
        shards: int | None = None,
        overwrite: bool = False,
        scratch_dir: str | None = None,
        inputs: Sequence[str] = (),
    ) -> None:
        if shards is not None and not 1 <= shards <= layout.MAX_PARTS:
            raise UsageError(f"{shards} part files cannot be made", hint=f"Give --shards 1 to {layout.MAX_PARTS}.")
        super().__init__(path, overwrite=overwrite, scratch_dir=scratch_dir, inputs=inputs, replaces=TENSORFILE)
        self._shards = shards
        self._parts = [_PartOutput(path, part, shards or 0, scratch_dir=scratch_dir) for part in range(shards or 0)]
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            super().__enter__()
            opened.push(super().__exit__)
            for part in self._parts:
                opened.enter_context(part)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._open.close()

    def writer(self, shape: tuple[int, int, int, int], compression: Compression, batches: int) -> TensorFileWriter:
        """The writer of all files.

        Args:
            shape: (B, C, H, W) of every batch.
            compression: how the chunks given to it were encoded.
            batches: how many there will be at most.

        Raises:
            UsageError: there are more parts than batches.
            OutputError: the file cannot be created.
        """
        self.require_unchanged_part()
        if self._shards is None:
            return TensorFileWriter(self.scratch, shape, compression, name=self.path)
        if self._shards > batches:
            raise UsageError(f"{batches} batches do not fill {self._shards} part files", hint="Lower --shards.")
        return _ShardedWriter(self, self._parts, shape, compression, batches)

    def prepare(self) -> None:
        """As `OutputFile.prepare`, for all files."""
        if not self._prepared:
            for part in self._parts:
                if part.is_used:
                    part.prepare()
        super().prepare()

    def commit(self) -> None:
        """Give all files their final names, the head as the last; when that fails, none keeps its own."""
        self.prepare()
        used = [part for part in self._parts if part.is_used]
        old = self._parts_of_old_file() if self._overwrite else set()
        with uninterrupted(), ExitStack() as published:
            for part in used:
                part.commit()
                published.callback(part.withdraw)
            super().commit()
            published.pop_all()
            for path in old - {part.path for part in used}:
                remove_remains(path)

    def _parts_of_old_file(self) -> set[str]:
        """The parts of the file that is replaced, as far as they have the names that such parts are given."""
        try:
            from int8cal.tensorfile.reader import TensorFile  # late: only where there was a file before

            with TensorFile(self.path) as file:
                declared = (file.manifest or {}).get(layout.PARTS, [])
        except TensorFileError:  # there is none, or it is something else
            return set()
        folder, name = os.path.split(self.path)
        ours = re.compile(rf"{re.escape(name)}-\d{{5}}-of-\d{{5}}-[0-9a-f]{{{_DIGITS}}}")
        return {os.path.join(folder, part["name"]) for part in declared if ours.fullmatch(part["name"])}


class _ShardedWriter(TensorFileWriter):
    """Writes each batch into one of the parts, in order, and links to them into the head."""

    def __init__(
        self,
        head: OutputFile,
        parts: Sequence[_PartOutput],
        shape: tuple[int, int, int, int],
        compression: Compression,
        batches: int,
    ) -> None:
        super().__init__(head.scratch, shape, compression, name=head.path)
        smallest, larger = divmod(batches, len(parts))
        self._outputs = iter(parts)
        self._room = (shape[0] * (smallest + (part < larger)) for part in range(len(parts)))
        self._left = 0
        self._compression = compression
        self._part: TensorFileWriter | None = None
        self._part_output: _PartOutput | None = None
        self._declared: list[layout.Part] = []

    def append(self, chunk: bytes) -> None:
        """As `TensorFileWriter.append`."""
        if not self._left:
            self._finish_part()
            self._left = next(self._room)
            output = self._part_output = next(self._outputs)
            output.require_unchanged_part()
            self._part = TensorFileWriter(output.scratch, self._shape, self._compression, name=output.path)
        if self._part:
            self._part.append(chunk)
        self._images += 1
        self._left -= 1

    def finish(self, manifest: Mapping[str, Any] | None, samples: Sequence[layout.SampleRow]) -> dict[str, Any]:
        """As `TensorFileWriter.finish`; the manifest declares the parts."""
        self._finish_part()
        parts = [part._asdict() for part in self._declared]
        return super().finish({**(manifest or {}), layout.PARTS: parts}, samples)

    def close(self) -> None:
        """As `TensorFileWriter.close`."""
        if self._part:
            self._part.close()
        super().close()

    def _finish_part(self) -> None:
        if self._part is None or self._part_output is None:
            return
        self._part.finish(None, ())
        with self._output_errors():
            digest = self._part_output.finish()
        name = os.path.basename(self._part_output.path)
        first = sum(part.batches for part in self._declared)
        batches = self._images // self._shape[0] - first
        for batch in range(batches):
            self._link(first + batch, name, batch)
        self._declared.append(layout.Part(name, batches, digest))
        self._part = None
