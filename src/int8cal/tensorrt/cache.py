"""TensorRT INT8 calibration caches (TensorRT 10 and older), read and written without TensorRT.

A cache is text. The first line is ``TRT-<version>-<algorithm>``; each further line is ``<tensor name>: <hex digits>``,
the big-endian float32 bits of the tensor's scale, ``amax / 127``, without leading zeros (``0`` for no range at all). A
name may hold anything but a line break, so a line is split at its last ``": "``. The version is a number: 8.5.1 is
8501, 10.3.0 is 100300; TensorRT silently ignores a cache of another version and calibrates again. It also wants its own
calibrator's algorithm there: ``EntropyCalibration2`` for trtexec, DeepStream and TAO Deploy, however the ranges were
found.

Read, but not written: what TAO writes for quantisation-aware models, a cache whose first line is ``1``, or JSON with
``tensor_scales``, which are thresholds and no scales (nvidia_tao_tf1/core/export/_quantized.py, commit 2ec95cb).

Sources: real cache files of TensorRT 8.5 and 10; ONNX Runtime's TensorRT execution provider (multiplies by 127).
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from int8cal.errors import UsageError, UseError
from int8cal.guard.json_text import parsed_json
from int8cal.io.file_kinds import ONNX_MODEL, TENSORFILE, FileKind
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import NotRegularError, near_names, open_regular
from int8cal.io.safe_text import short_repr
from int8cal.types import INT8_STEPS, LEAST_SCALE

ENTROPY_2 = "EntropyCalibration2"
MAX_BYTES = 4 << 20
"""Largest cache file that is read or written, text or JSON. One of a network of 5000 layers has about 400 kB."""
MAX_TENSORS = 50_000
MAX_NAME = 4096
"""Longest name of a tensor, in characters."""
_MAX_FLOAT32 = 3.4028234663852886e38
_LARGEST_ZERO = 2.0**-150
"""The largest number that float32 rounds to 0."""

_HEADER = re.compile(r"TRT-(\S{1,64})-([A-Za-z0-9]{1,64})", re.ASCII)
_HEADER_NUMBER = re.compile(r"[1-9]\d{3,6}", re.ASCII)
_QAT_HEADER = "1"
_VALUE = re.compile(r"[0-9A-Fa-f]{1,8}")
_NUMBER = r"(0|[1-9]\d?)"
_PACKAGE = r"(?:\.\d{1,4})?(?:\.?(?:post|dev|b|rc)\d{1,3}){0,2}(?:-\d{1,4}(?:\+cuda[\d.]{1,8})?)?"  # pip's and dpkg's
_VERSION = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}{_PACKAGE})?)?", re.ASCII)
_NAME_HINT = "Give the name of a calibration cache."
_WITHOUT_HINT = "Go without the cache."
_DAMAGED_HINT = "Write the cache again, with int8cal quantize --trt_cache or TensorRT."
_NOT_JSON = "is not a calibration cache in JSON: it needs version, algorithm and amax, or tensor_scales"
_JSON_HINT = "Give what int8cal cache convert wrote to a name ending in .json."
_TEXT_HINT = "Make TensorRT's text of this JSON: int8cal cache convert CAL.json CAL.bin"
_RANGE_HINT = "Calibrate again: a range is a number above 0 whose scale float32 can hold, or 0 where nothing was active"
_VERSION_HINT = (
    "Give the release that will read the cache, like 10.3.0: "
    "python3 -c 'import tensorrt; print(tensorrt.__version__)' or dpkg -l 'libnvinfer*' tells it there"
)
_NO_CACHE_HINT = "TensorRT 11 and later take the Q/DQ model that int8cal quantize makes, without a cache"
_FIRST_MAJOR = 7  # older ones wrote other headers; none is in use any more
_LAST_MAJOR = 10
_DIGITS = 8  # of a number, unless its tensor was as good as never active
_BYTES_OF_VALUE = len(": 3c010204\n")


@dataclass(frozen=True)
class CalibrationCache:
    """One calibration cache.

    Attributes:
        amax: tensor name → magnitude at which it saturates in INT8 (127 × the scale in the file), in file order. Files
            hold impossible ones, too: see `unusable`.
        version: TensorRT version as the number in the header (8501, 100300); None where the header has no number.
        algorithm: e.g. ``EntropyCalibration2``.
        first_line: the header as it stands in a file that has another than ours.
    """

    amax: Mapping[str, float]
    version: int | None
    algorithm: str = ENTROPY_2
    first_line: str | None = None

    @property
    def without_scale(self) -> tuple[str, ...]:
        """Tensors whose scale is 0 in float32: our text has no place for them, JSON has."""
        return tuple(name for name, amax in self.amax.items() if _has_no_scale(amax) and not _is_negative(amax))

    @property
    def without_range(self) -> tuple[str, ...]:
        """Tensors that were never active, or as good as that (see `LEAST_SCALE`): a Q/DQ pair would hold nothing."""
        impossible = self.unusable
        least = LEAST_SCALE * INT8_STEPS
        return tuple(name for name, amax in self.amax.items() if name not in impossible and amax < least)

    @property
    def unusable(self) -> dict[str, float]:
        """Tensors whose range is infinite, beyond float32, undefined or negative: nothing can be quantised by it."""
        return {name: amax for name, amax in self.amax.items() if not amax <= _MAX_FLOAT32 or _is_negative(amax)}

    @property
    def has_ranges(self) -> bool:
        """Whether anything can be quantised by it: a cache may be empty, or hold nothing but the two kinds above."""
        return not self.amax.keys() <= {*self.without_range, *self.unusable}

    @property
    def header(self) -> str:
        """The first line: ``TRT-100300-EntropyCalibration2``."""
        return f"TRT-{self.version}-{self.algorithm}" if self.first_line is None else self.first_line

    @property
    def release(self) -> str | None:
        """The version in dotted form: ``10.3.0``; None where the header has none."""
        if self.version is None:
            return None
        major, rest = divmod(self.version, 10000 if self.version >= 100000 else 1000)
        return f"{major}.{rest // 100}.{rest % 100}"

    @property
    def no_reader(self) -> str | None:
        """Why no TensorRT reads it; None where one does."""
        if self.version is None:
            return f"the version in {self.header!r} is not a number"
        if self.first_line is not None:
            return f"it begins with {self.first_line!r}, where TensorRT wants TRT-{self.version}-{self.algorithm}"
        if self.version < 10000 or 100000 <= self.version < (_LAST_MAJOR + 1) * 10000:
            return None
        if self.version < 100000:
            return f"no TensorRT release has the number {self.version}"
        return f"TensorRT {self.release} has no calibration caches"


def version_number(release: str) -> int:
    """``8.5.1`` → 8501, ``10.3.0`` → 100300: the number in the header of that TensorRT release's caches.

    Args:
        release: ``MAJOR.MINOR.PATCH``, as pip and dpkg write it (``8.6.1.post1``, ``10.3.0.30-1+cuda12.5``). All three
            count: TensorRT ignores the cache of another patch.

    Raises:
        UsageError: no such form, or a release that has no calibration caches (11 and later) or is too old (before 7).
    """
    match = _VERSION.fullmatch(release)
    if match is None:
        raise UsageError(f"{release!r} is not a TensorRT version", hint=_VERSION_HINT)
    if int(match[1]) > _LAST_MAJOR:
        raise UsageError(f"TensorRT {match[1]} has no calibration caches", hint=_NO_CACHE_HINT)
    if match[3] is None:
        raise UsageError(f"{release!r} is not a whole TensorRT version, which is X.Y.Z", hint=_VERSION_HINT)
    major, minor, patch = (int(part) for part in match.groups()[:3])
    if major < _FIRST_MAJOR:
        raise UsageError(
            f"TensorRT {release}: caches of releases before {_FIRST_MAJOR} are not supported", hint=_VERSION_HINT
        )
    if major < 10 and minor > 9:
        raise UsageError(
            f"{release!r} is not a TensorRT version: there is no minor version {minor} of {major}", hint=_VERSION_HINT
        )
    return major * (10000 if major >= 10 else 1000) + minor * 100 + patch


def check_names(names: Collection[str]) -> None:
    """Refuse names of tensors that a cache cannot hold.

    Raises:
        UseError: a name is empty, too long, holds a line break, or is not Unicode text; or they are too many.
    """
    for name in names:
        if len(name) > MAX_NAME or name.splitlines() != [name] or not _is_text(name):
            raise UseError(
                f"tensor name {short_repr(name)} cannot be written into a calibration cache",
                hint="Rename it in the model, or go without the cache.",
            )
    if len(names) > MAX_TENSORS:
        raise UseError(f"{len(names)} tensors, more than the {MAX_TENSORS} of a calibration cache", hint=_WITHOUT_HINT)
    _check_size(sum(len(name.encode()) + _BYTES_OF_VALUE for name in names))


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UseError(f"{size} bytes, more than the {MAX_BYTES} of a calibration cache", hint=_WITHOUT_HINT)


def _is_text(name: str) -> bool:
    """Whether UTF-8 can hold it: JSON can smuggle half a character in."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def dumps(cache: CalibrationCache) -> str:
    """The text of a cache. Tensors ``without_scale`` are left out: a scale of 0 is not a scale.

    Raises:
        UseError: a name cannot be written, a magnitude is negative or infinite, or no TensorRT would read the cache.
    """
    if cache.no_reader:
        raise _of_no_use(cache)
    check_names(cache.amax)
    lines = [cache.header]
    for name, amax in cache.amax.items():
        if not _has_no_scale(amax):
            lines.append(f"{name}: {_bits(name, amax)}")
    return "\n".join(lines) + "\n"


def _of_no_use(cache: CalibrationCache) -> UseError:
    return UseError(
        f"a calibration cache that begins with {cache.header} is of no use: {cache.no_reader}",
        hint=f"Give the release that will read it, as with --trt_version; {_NO_CACHE_HINT}.",
    )


def _no_range(name: str, amax: float) -> UseError:
    return UseError(f"tensor {short_repr(name)} has no usable range: {amax}", hint=_RANGE_HINT)


def _bits(name: str, amax: float) -> str:
    try:
        bits = struct.pack(">f", amax / INT8_STEPS)
    except OverflowError:
        bits = b""
    if not bits or not math.isfinite(amax) or amax < 0.0:
        raise _no_range(name, amax)
    return bits.hex()


def loads(text: str, where: str = "calibration cache") -> CalibrationCache:
    """Read the text of a cache.

    Raises:
        UseError: no cache, or a damaged line (named with its number).
    """
    lines = text.split("\n", MAX_TENSORS + 2)
    version, algorithm, first_line = _header(lines[0].rstrip("\r"), text, where)
    if len(lines) > MAX_TENSORS + 2:
        raise _too_many(where)
    amax: dict[str, float] = {}
    for number, raw in enumerate(lines[1:], start=2):
        line = raw.rstrip("\r")
        if line:
            name, value = _entry(line, f"{where}:{number}", is_cut_off=number == len(lines))
            if name in amax:
                raise UseError(
                    f"tensor {short_repr(name)} is listed twice", where=f"{where}:{number}", hint=_DAMAGED_HINT
                )
            amax[name] = value
    return CalibrationCache(amax, version, algorithm, first_line)


def _header(line: str, text: str, where: str) -> tuple[int | None, str, str | None]:
    """(version, algorithm, the line itself if it is none of ours)."""
    match = _HEADER.fullmatch(line)
    if match is None:
        if line.strip() == _QAT_HEADER:
            return None, ENTROPY_2, line
        raise UseError(
            "is not a TensorRT calibration cache: the first line is not TRT-<version>-<algorithm>",
            where=where,
            hint=_TEXT_HINT if _is_json(text) else _NAME_HINT,
        )
    if _HEADER_NUMBER.fullmatch(match[1]):
        return int(match[1]), match[2], None
    try:
        return version_number(match[1]), match[2], line
    except UsageError:
        return None, match[2], line


def _too_many(where: str) -> UseError:
    return UseError(f"lists more than {MAX_TENSORS} tensors: no calibration cache", where=where, hint=_NAME_HINT)


def _is_range(value: float) -> bool:
    """Whether it is what we write: 0, or a threshold whose scale float32 can hold."""
    return 0.0 <= value <= INT8_STEPS * _MAX_FLOAT32 and not _is_negative(value)


def _is_beyond_float(value: float) -> bool:
    return isinstance(value, int) and abs(value) > _MAX_FLOAT32


def _has_no_scale(amax: float) -> bool:
    """Whether the scale is 0 in float32."""
    return 0.0 <= amax / INT8_STEPS <= _LARGEST_ZERO


def _is_negative(value: float) -> bool:
    """The negative zero is, too: nobody writes it."""
    return math.copysign(1.0, value) < 0.0


def _entry(line: str, where: str, *, is_cut_off: bool) -> tuple[str, float]:
    name, separator, digits = line.rpartition(": ")
    if len(name) > MAX_NAME:
        raise UseError(
            f"a tensor's name has {len(name)} characters, more than {MAX_NAME}", where=where, hint=_DAMAGED_HINT
        )
    if not separator or not name or not _VALUE.fullmatch(digits):
        raise UseError("the line is not '<tensor name>: <hex digits>'", where=where, hint=_DAMAGED_HINT)
    if is_cut_off and len(digits) < _DIGITS:
        raise UseError("the file ends within the last number", where=where, hint=_DAMAGED_HINT)
    (scale,) = struct.unpack(">f", int(digits, 16).to_bytes(4, "big"))
    return name, scale * INT8_STEPS


def read_cache(path: str | os.PathLike[str]) -> CalibrationCache:
    """Read a cache file: TensorRT's text, our JSON, or what TAO writes for quantisation-aware models.

    Raises:
        UseError: the file cannot be read, is too large, or is not a cache.
    """
    name, text = os.fspath(path), read_text(path)
    return from_json(text, name) if _is_json(text) else loads(text, name)


def read_text(path: str | os.PathLike[str]) -> str:
    """What is in a file that may be a cache; encoded, it is the file's bytes again.

    Raises:
        UseError: the file cannot be read, is too large, or is not text.
    """
    name = os.fspath(path)
    try:
        with open_regular(name) as file:
            data = file.read(MAX_BYTES + 1)
    except NotRegularError:
        raise UseError("is not a regular file", where=name, hint=_NAME_HINT) from None
    except (OSError, ValueError) as error:
        raise_if_lacking(error, name)
        reason = getattr(error, "strerror", None) or error
        hint = near_names(name, _NAME_HINT) if isinstance(error, FileNotFoundError) else _NAME_HINT
        raise UseError(f"cannot be read: {reason}", where=name, hint=hint) from error
    if kind := next((kind for kind in (TENSORFILE, ONNX_MODEL) if _is_of(kind, name)), None):
        raise UseError(f"is {kind.name}, not a calibration cache", where=name, hint=_NAME_HINT)
    if len(data) > MAX_BYTES:
        raise UseError(f"has more than {MAX_BYTES} bytes: no calibration cache", where=name, hint=_NAME_HINT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UseError(f"is not text: byte {error.start} is not UTF-8", where=name, hint=_NAME_HINT) from None


def _is_of(kind: FileKind, path: str) -> bool:
    try:
        return kind.recognises(path)
    except OSError:
        return False


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def dumps_json(cache: CalibrationCache) -> str:
    """The cache as the text of a JSON file, tensors with ``amax`` 0 among them.

    Raises:
        UseError: a name or magnitude cannot be written, there is no version, or the file would be too large to be read.
    """
    if cache.version is None:
        raise _of_no_use(cache)
    for name, amax in cache.unusable.items():
        raise _no_range(name, amax)
    check_names(cache.amax)
    text = json.dumps(to_json(cache), indent=1) + "\n"
    _check_size(len(text))  # ASCII
    return text


def to_json(cache: CalibrationCache) -> dict[str, Any]:
    """The cache as JSON types: ``version``, ``release``, ``algorithm`` and ``amax``."""
    return {
        "version": cache.version,
        "release": cache.release,
        "algorithm": cache.algorithm,
        "amax": dict(cache.amax),
    }


def _without_repetition(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; Python's own would keep the last of equal names, and not say so."""
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise UseError(f"{short_repr(name)} is listed twice", hint=_JSON_HINT)
        found[name] = value
    return found


def from_json(text: str, where: str = "calibration cache") -> CalibrationCache:
    """Read what `to_json` gave (``release`` is not looked at), or TAO's ``{"tensor_scales": {name: threshold}}``.

    Raises:
        UseError: no JSON, or not of that form.
    """
    try:
        content = parsed_json(text, UseError, _NOT_JSON, where=where, hint=_JSON_HINT, members=_without_repetition)
        if "amax" not in content and "tensor_scales" in content:
            cache = CalibrationCache({**content["tensor_scales"]}, None, first_line="tensor_scales")
        else:
            cache = CalibrationCache({**content["amax"]}, content["version"], content["algorithm"])
    except UseError as error:
        error.where = where
        raise
    except (KeyError, TypeError):
        raise UseError(_NOT_JSON, where=where, hint=_JSON_HINT) from None
    is_qat = cache.first_line is not None
    wrong = not is_qat and (
        type(cache.version) is not int
        or not isinstance(cache.algorithm, str)
        or not _HEADER.fullmatch(cache.header)
        or not _HEADER_NUMBER.fullmatch(str(cache.version))
    )
    if wrong:
        raise UseError("is not a calibration cache in JSON: a value has the wrong type", where=where, hint=_JSON_HINT)
    if len(cache.amax) > MAX_TENSORS:
        raise _too_many(where)
    for name, amax in cache.amax.items():
        if type(amax) not in (int, float) or not (is_qat or _is_range(amax)) or _is_beyond_float(amax):
            raise UseError(
                f"tensor {short_repr(name)} has the impossible range {short_repr(amax)}", where=where, hint=_RANGE_HINT
            )
    check_names(cache.amax)
    return replace(cache, amax={name: float(amax) for name, amax in cache.amax.items()})


@dataclass(frozen=True)
class CacheDiff:
    """How two caches differ.

    Attributes:
        headers: the two first lines.
        only_first, only_second: tensors that the other cache lacks.
        changed: tensor → (amax in the first, amax in the second), where they differ by more than the tolerance.
        same: how many tensors agree.
    """

    headers: tuple[str, str]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    same: int = 0

    @property
    def equal(self) -> bool:
        """True when headers, tensors and ranges agree."""
        return not (self.only_first or self.only_second or self.changed) and self.headers[0] == self.headers[1]


def diff(first: CalibrationCache, second: CalibrationCache, tolerance: float = 1e-6) -> CacheDiff:
    """Compare two caches.

    Args:
        first: one cache.
        second: the other.
        tolerance: by how much of the larger two ranges may differ and count as equal, from 0 to less than 1.

    Raises:
        UsageError: a tolerance out of range.
    """
    if not 0.0 <= tolerance < 1.0:
        raise UsageError(f"tolerance {tolerance} is not within [0, 1)", hint="0.01 is one percent of the range.")
    shared = [name for name in first.amax if name in second.amax]
    changed = {
        name: (first.amax[name], second.amax[name])
        for name in shared
        if not math.isclose(first.amax[name], second.amax[name], rel_tol=tolerance)
        and not (math.isnan(first.amax[name]) and math.isnan(second.amax[name]))
    }
    return CacheDiff(
        headers=(first.header, second.header),
        only_first=tuple(name for name in first.amax if name not in second.amax),
        only_second=tuple(name for name in second.amax if name not in first.amax),
        changed=changed,
        same=len(shared) - len(changed),
    )
