"""What stands between bytes from anybody and the plain readers.

The threat model, in short (in full: docs/explanation/threat-model.md):

* *Who.* Tensorfiles, models and calibration caches may come from a stranger: an artifact store, a colleague, the web.
  So may images, TFRecords, annotations and specs. Their bytes are nobody's promise.
* *At worst.* The command says what is wrong with which file, within a bounded time and memory, and writes nothing under
  the final name. It never hangs, never takes memory that the file merely claims to need, never crashes with a
  traceback, never opens a file that the input names (but for images, records and declared parts), never loads a
  library, and never passes as sound what another reader would read otherwise.
* *Not guarded against.* A file forged with sound checksums; a file that is changed while it is read; whoever may write
  to the output's folder or to this process's memory; bugs of the libraries that a bounded, sound-looking input meets.

One module for each library or format, and nothing here that the page does not ask for:

* `libraries`: whatever a library raises over an input is that input's error.
* `json_text`: JSON, with a bound on its nesting.
* `hdf5_walk`: what HDF5 would follow without end. `hdf5`: every call into h5py, and values in bounded memory.
* `onnx_wire`: a model's bytes before protobuf multiplies them. `onnx_bounds`: ONNX Runtime in bounded memory and time.
"""
