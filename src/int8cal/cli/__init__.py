"""The command line: the only place that parses options, prints, draws progress or exits."""
