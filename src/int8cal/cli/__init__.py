"""The command line: the only place that parses options, prints, draws progress or exits."""

from __future__ import annotations

import gc
import sys

from int8cal.io.signals import Stopped, ignore_signals, obey_signals, stop_listening


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``int8cal``: run the command, turn its errors into text and an exit code.

    Signals, streams and settings of the process are seen to before anything that takes time is imported.
    """
    try:
        obey_signals()
        from int8cal.cli import process

        process.prepare_streams()
        process.keep_blas_to_one_thread()
        process.collect_garbage_rarely()
        from int8cal.cli.app import print_error, run
        from int8cal.guard.onnx_bounds import own_process

        words = sys.argv[1:] if arguments is None else arguments
        own_process(lambda error: print_error(error, words))
        code = run(words)
    except Stopped as stopped:  # while the imports above were going on
        stop_listening()
        sys.stderr.write(f"int8cal: {stopped.how}\n")
        code = stopped.exit_code
    ignore_signals()  # the interpreter is cleaning up: too late for anything but a traceback
    gc.freeze()  # nor is it worth looking for garbage once more
    sys.exit(code)
