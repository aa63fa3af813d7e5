"""An experiment spec of a TAO network as the origin of a plan.

read_document ──► read_spec ──────────────────────► decide
any spec file     its network, and whether          samples, order and arithmetic, as the network's own functions
→ typed values    the network takes it              and the caller's choice say
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NoReturn

from int8cal import networks
from int8cal.errors import DataError, SpecError, UsageError
from int8cal.io.arguments import checked_arguments
from int8cal.io.file_kinds import FileKind
from int8cal.io.paths import given_path, refuse_missing_address
from int8cal.io.safe_text import printable
from int8cal.io.summary import Summarised, counted
from int8cal.network_kit.framing import framing
from int8cal.origins.advice import missing_data_advised, missing_folder_advice
from int8cal.origins.origin import Choice, Decision
from int8cal.samples.encoded import sample_place
from int8cal.samples.folders import ImageFolder, read_folder
from int8cal.samples.order import permutation, sequential
from int8cal.samples.paths import path_text
from int8cal.spec.document import SpecFinding
from int8cal.spec.elsewhere import name_elsewhere
from int8cal.spec.languages import language_of
from int8cal.spec.reading import read_bytes
from int8cal.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from int8cal.network_kit.network import Arithmetic, LabelledObject, Network
    from int8cal.samples.samples import Dataset, Sample
    from int8cal.spec.document import PathValue, SpecDocument
    from int8cal.spec.update import Substitution, Update
    from int8cal.types import Message, SplitName


ORDER = "order"
"""Name of the option that networks have which say how their splits are ordered (`Network.listed_splits`)."""

_SHORT_NAMES: Mapping[str, str] = {"training": "train", "validation": "val"}
"""How networks that have more than these two splits call them."""


@dataclass(frozen=True, repr=False, eq=False)
class Spec(Summarised):
    """An experiment spec that was read, checked, and found to be of a network.

    Attributes:
        document: the typed values, which know where they stand.
        network: the network that it is the training experiment of.
        notes: what the user should know beside the document's own warnings.
        for_folder: only what decides the pixels was asked of it: it serves images from a folder alone.
        mapped: beginnings of paths that were put in place of others on the fly, as (old, new).
    """

    document: SpecDocument
    network: Network
    notes: tuple[str, ...] = ()
    for_folder: bool = False
    mapped: tuple[tuple[str, str], ...] = ()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: its message is of a class that is built at run time."""
        raise UsageError(
            "a spec cannot be pickled", hint="Give the other process its path, and call int8cal.read_spec there."
        )

    def summary(self) -> str:
        """All that matters of it, in one short line."""
        warned = f", {counted(len(self.warnings), 'warning')}" if self.warnings else ""
        return f"{self.network.name}: {self.path}{warned}"

    def summary_rows(self) -> Iterator[tuple[str, object]]:
        """The few facts that a notebook shows."""
        yield "network", f"{self.name}: {self.title}"
        yield "spec_sha256", self.sha256
        for value in self.path_values():
            yield value.role, value.content
        for warning in self.warnings:
            yield "warning", warning

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.network.name

    @property
    def title(self) -> str:
        """What the network is, in one line."""
        return self.network.title

    @property
    def path(self) -> str:
        """Where it was read from, as given by the user."""
        return self.document.path

    @property
    def overrides(self) -> tuple[str, ...]:
        """The command line's ``key=value``, as given."""
        return self.document.overrides

    @property
    def message(self) -> Message:
        """Its values by attribute, defaults included."""
        return self.document.message

    @property
    def warnings(self) -> tuple[str, ...]:
        """Legacy or (when allowed) unknown fields, each with its position, and the notes."""
        return (*self.document.warnings, *self.notes)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the values with every path field cleared: the same wherever the data lie."""
        return hashlib.sha256(self.document.fingerprint(self.network.path_roles)).hexdigest()

    def path_values(self) -> Iterator[PathValue]:
        """The non-empty paths with a role, in file order."""
        return self.document.path_values(self.network.path_roles)

    def updated(self, substitutions: Sequence[Substitution], *, num_epochs: int | None = None) -> tuple[Spec, Update]:
        """The spec with run-time paths in place of references; see `int8cal.spec.update.update_spec`."""
        from int8cal.spec.update import update_spec  # late: most runs take the spec as it is

        update = update_spec(
            self.document,
            self.network.path_roles,
            substitutions,
            num_epochs=num_epochs,
            epochs_field=self.network.epochs_field,
        )
        return replace(self, document=update.document), update

    def objects(self, sample: Sample) -> list[LabelledObject] | None:
        """What the labels of a sample say is in the picture; None when it has none.

        Raises:
            DataError: the labels cannot be read.
        """
        return self.network.objects(self.document, sample)

    def advice(self, path: str) -> str | None:
        """The line to add where a folder of images is not there; see `int8cal.origins.origin.Origin.advice`."""
        return missing_folder_advice(self, path)

    def decide(self, choice: Choice) -> Decision:
        """Samples, order and arithmetic; see `int8cal.origins.origin.Origin.decide`."""
        network, document = self.network, self.document
        split = self._split(choice.split)
        options = self.checked_options(choice.options)
        folder = _image_folder(choice, elsewhere=choice.split is not None and split != network.splits[0])
        seed = network.seed(document.message) if choice.seed is None else choice.seed
        if options.get(ORDER) == "auto":
            options[ORDER] = "listing" if split in network.listed_splits and not folder else "seeded"
        if folder is None and self.for_folder:
            require_sound(document, network)
        if folder:
            dataset = read_folder(folder, split, size_of=_size_by_header() if network.uses_recorded_sizes else None)
            arithmetic = self._folder_arithmetic(dataset, options)
            _refuse_cutting(arithmetic, dataset, folder)
        else:
            root = network.data_root(os.environ) if choice.data_root is None else os.fspath(choice.data_root)
            with missing_data_advised(self):
                dataset = network.dataset(document, split, root)
            arithmetic = network.arithmetic(document, dataset, options)
        if options.get(ORDER) == "listing":
            order = sequential(len(dataset.samples))
        elif folder:
            order = permutation(len(dataset.samples), seed)
        else:
            order = network.order(document.message, dataset, seed)
        batch_size = network.batch_size(document.message) if choice.batch_size is None else choice.batch_size
        if batch_size < 1:
            raise UsageError("the spec does not say how many images a batch has", hint="Give --batch_size B.")
        max_batches, notes = self._max_batches(choice, len(dataset.samples) // batch_size)
        return Decision(
            split=None if folder else split,
            seed=seed,
            batch_size=batch_size,
            max_batches=max_batches,
            dataset=replace(dataset, warnings=(*dataset.warnings, *notes)) if notes else dataset,
            order=order,
            arithmetic=arithmetic,
            options=options,
            folder=folder,
        )

    def _max_batches(self, choice: Choice, available: int) -> tuple[int, tuple[str, ...]]:
        """How many batches are wanted; of those that the spec asks for, no more than there are, with a note."""
        if choice.max_batches is not None:
            return choice.max_batches, ()
        asked = self.network.spec_batches
        wanted = asked(self.document.message) if asked else None
        if wanted is None:
            return self.network.default_max_batches, ()
        if wanted <= available or not available:
            return wanted, ()
        note = f"{printable(self.path)}: the spec asks for {wanted} batches, and there are {available}: all are made"
        return available, (note,)

    def _split(self, split: SplitName | None) -> SplitName:
        splits = self.network.splits
        if split not in splits:
            split = _SHORT_NAMES.get(split or "", split)
        if split is not None and split not in splits:
            raise UsageError(f"there is no split {split!r}", hint=f"Use {' or '.join(splits)}.")
        return split or splits[0]

    @checked_arguments()
    def checked_options(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """The value of every option of the network; see `int8cal.origins.origin.Origin.checked_options`."""
        known = {option.name: option for option in self.network.options}
        for name, value in chosen.items():
            if name not in known:
                hint = f"It has: {', '.join(known)}." if known else f"It has none: leave {name} out."
                raise UsageError(f"{self.network.name}, the network of the spec, has no option {name!r}", hint=hint)
            if value not in known[name].choices:
                raise UsageError(f"{name} cannot be {value!r}", hint=f"Use one of {', '.join(known[name].choices)}.")
        return {name: chosen.get(name, option.default) for name, option in known.items()}

    def _folder_arithmetic(self, dataset: Dataset, options: Mapping[str, str]) -> Arithmetic:
        """That of the reference's exporter; where it has none, the network's own, which it never gives such images."""
        if self.network.folder_arithmetic:
            return self.network.folder_arithmetic(self.document, dataset, options)
        own = self.network.arithmetic(self.document, dataset, options)
        return own if own.evidence == "unverified" else replace(own, evidence="not compared")


def _size_by_header() -> Callable[[bytes, str], Size]:
    from int8cal.images.pictures import picture_size  # late: Pillow, for some runs from a folder alone

    return picture_size


def _refuse_cutting(arithmetic: Arithmetic, dataset: Dataset, folder: ImageFolder) -> None:
    """Refuse images of a folder that would be cut or padded: they were not prepared for this network.

    Raises:
        DataError: there is one.
    """
    for sample in dataset.samples:
        _, height, width = arithmetic.shape(sample)
        size = Size(sample.height, sample.width)
        found = framing(arithmetic.options, arithmetic.shape(sample), (size,))
        if found and not found.whole:
            raise DataError(
                f"the network takes {width}x{height} pixels, and the image has {size.width}x{size.height}: "
                f"without resizing, {found}",
                where=sample_place(sample),
                hint="Set enable_auto_resize: true in augmentation_config.preprocessing (with dataloader_mode 0) to "
                f"resize by the training's own arithmetic, or resize the images of {path_text(folder.path)} to "
                f"{width}x{height} first.",
            )


def _image_folder(choice: Choice, *, elsewhere: bool) -> ImageFolder | None:
    """The folder that images are taken from in place of the spec's data; None when none is named.

    ``elsewhere``: a split was asked for that is not the first.
    """
    path = choice.cal_image_dir
    if path is not None and not os.fspath(path):
        raise UsageError("an empty path names no folder of images", hint="Give --cal_image_dir the path of one.")
    if path is None:
        if choice.recursive:
            raise UsageError("--recursive is for images from a folder", hint="Give --cal_image_dir, too.")
        return None
    if elsewhere:
        raise UsageError(
            "images from a folder belong to no split of the spec",
            hint="Leave out --cal_image_dir, or the split (--split, --use_validation_set).",
        )
    refuse_missing_address(os.fspath(path))
    return ImageFolder(os.fspath(path), choice.recursive)


def read_document(
    path: str | os.PathLike[str],
    network: str | None = None,
    *,
    as_asked: bool = False,
    allow_unknown_fields: bool = False,
    strict: bool = False,
    overrides: Sequence[str] = (),
) -> SpecDocument:
    """Read and type a spec file of any kind and language; nothing but its form is checked.

    Args:
        path: the file, or a pipe; it is read once.
        network: the network that the user names, if any.
        as_asked: the file is read as a spec of that network, even when it looks like another one's.
        allow_unknown_fields: unknown fields become warnings and are ignored.
        strict: legacy fields are errors.
        overrides: ``key=value`` each, for languages that have them.

    Raises:
        SpecError: the file cannot be read, is not a spec that is known, or holds unknown fields.
        UsageError: ``network`` is unknown.
    """
    path = given_path(path, "a spec")
    asked = networks.get(network) if network else None
    data = read_bytes(path)
    networks.load_schemas(installed=asked is None)
    return language_of(data, asked.root if asked else None).read(
        data,
        path,
        asked.root if asked else None,
        beside=as_asked,
        allow_unknown_fields=allow_unknown_fields,
        strict=strict,
        overrides=overrides,
    )


_NAME_HINT = "Correct model_name, or leave it out; or ask for the network that it names."


@checked_arguments()
def read_spec(
    path: str | os.PathLike[str],
    network: str | None = None,
    *,
    allow_unknown_fields: bool = False,
    strict: bool = False,
    strict_network: bool = False,
    overrides: Sequence[str] = (),
    for_folder: bool = False,
) -> Spec:
    """Read, type and check an experiment spec, and find its network.

    Args:
        path: the spec file, or a pipe; it is read once.
        network: the network that it should be of; None: found from the spec itself.
        allow_unknown_fields: unknown fields are warnings instead of errors.
        strict: legacy fields, too, are errors.
        strict_network: a spec of another network than ``network`` is an error; else it runs as what it is, and warns.
            One with the keys of ``network`` and another ``model_name`` is an error, too; else it runs as ``network``,
            and warns.
        overrides: ``key=value`` each, put in place of what the file says, for languages that have them (YAML).
        for_folder: images are taken from a folder: sections that decide no pixel, such as the data sources, may be
            missing.

    Returns:
        The typed values with positions and warnings, and the network.

    Raises:
        SpecError: the file cannot be read, typed, or fails a check; ``where`` is ``path:line:column``.
        UsageError: ``network`` is unknown.
    """
    document = read_document(
        path, network, allow_unknown_fields=allow_unknown_fields, strict=strict, overrides=overrides
    )
    found = networks.of_document(document)
    notes: tuple[str, ...] = ()
    if network and networks.get(network) is not found:
        message = f"is a spec of {found.name}, not of {network}"
        if strict_network:
            raise SpecError(message, where=document.path, hint=f"Run: int8cal {found.name} …")
        notes = (f"{document.path}: {message}: runs as {found.name}",)
    elif network and (said := _other_name(document, found)):
        message = f"its model_name is {said}, and its keys are those of {found.name}"
        if strict_network:
            raise SpecError(message, where=document.where("model_name"), hint=_NAME_HINT)
        notes = (f"{document.where('model_name')}: {message}: runs as {found.name}",)
    require_sound(document, found, for_folder=for_folder)
    return Spec(document, found, (*notes, *found.notes(document)), for_folder)


def _other_name(document: SpecDocument, found: Network) -> str | None:
    """The network of another name that a spec says to be of; None when it says none that there is."""
    said = document.names_network
    if said is None or said == found.name or not (name_elsewhere(said) or said in networks.names()):
        return None
    return said


def require_sound(document: SpecDocument, network: Network | None, *, for_folder: bool = False) -> None:
    """Raise the first of the `refusals`.

    Raises:
        SpecError: there is one; the hint says how many more.
    """
    findings = refusals(document, network, for_folder=for_folder)
    if findings:
        first, others = findings[0], len(findings) - 1
        hints = filter(None, (first.hint, f"{others} more: see int8cal spec check." if others else None))
        raise SpecError(first.message, where=first.where, hint=" ".join(hints) or None)


def refusals(document: SpecDocument, network: Network | None, *, for_folder: bool = False) -> tuple[SpecFinding, ...]:
    """What a run would refuse: a form that is outdated; else all that the schema finds; else what the network does.

    Args:
        document: a spec of any kind.
        network: the network that it is the training experiment of, if it is one.
        for_folder: sections that decide no pixel may be missing.
    """
    if network is None:
        return document.check()
    found = document.check()
    check = network.check
    if for_folder and network.pixel_fields:
        found = tuple(one for one in found if document.written(one.field) or one.field in network.pixel_fields)
        check = network.folder_check or check
    outdated = _findings(document, partial(network.refuse_outdated, document))
    asked = (partial(ask, document.message) for ask in (network.batch_size, network.spec_batches) if ask)
    return outdated or found or _findings(document, partial(check, document), *asked)


def _findings(document: SpecDocument, *checks: Callable[[], object]) -> tuple[SpecFinding, ...]:
    found = []
    for check in checks:
        try:
            check()
        except SpecError as error:
            found.append(SpecFinding(error.where or document.path, "", error.message, error.hint))
    return tuple(found)


def is_spec(path: str) -> bool:
    """Whether a file reads as the spec of a network, be it one that cannot be run."""
    networks.load_schemas()
    try:
        data = read_bytes(path)
    except SpecError:
        return False
    return language_of(data).recognises(data)


SPEC = FileKind("an experiment spec", is_spec)
"""What ``--overwrite`` may replace by a spec."""
