"""The HDF5 file of calibration batches: its layout, writer, reader and structural checks."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from int8cal.tensorfile.reader import TensorFile

__all__ = ["TensorFile"]


def __getattr__(name: str) -> object:
    if name != "TensorFile":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from int8cal.tensorfile.reader import TensorFile  # late: who writes a file has no need of what reads one

    return TensorFile
