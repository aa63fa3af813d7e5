"""What the rest stands on.

    files        output files: complete under their final name, or not there; what may be replaced
    folders      the same for a folder of many files
    locks        one run at a time on one output; private folders below a scratch folder
    paths        what lies behind a path: kinds of files, free space, errors of the system in words
    file_kinds   how to tell that a file is of a kind
    signals      how a signal ends the program, and where it must wait
    progress     telling about work that may fail half way
    optional     imports of what an extra installs
    protos       protobuf messages from compiled descriptors
    threads      work on threads, results in order
    safe_text    text from data made harmless
    summary      how results show themselves in Python

Imports nothing: `signals` must be there before anything else is loaded.
"""
