"""The HDF5 file of calibration batches: its layout, writer, reader and structural checks."""

from int8cal.tensorfile.reader import TensorFile

__all__ = ["TensorFile"]
