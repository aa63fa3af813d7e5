"""``python -m int8cal``."""

from int8cal.cli import main

main()
