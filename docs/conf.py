"""Sphinx configuration. The pages are plain Markdown that reads well without being built."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "int8cal"
author = "The int8cal authors"
copyright = author
version = release = installed_version("int8cal")

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # generated pages start headings where the command tree does

html_theme = "furo"
html_title = f"int8cal {version}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["copy.js"]
