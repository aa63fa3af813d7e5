"""The HDF5 file of calibration batches: its layout, writer, reader and structural checks."""
