#!/bin/sh
# Print the first Python >= 3.11 that can make an environment; nothing when there is none.
for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then
        command -v "$name"
        exit
    fi
done
