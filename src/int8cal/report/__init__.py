"""One self-contained HTML page about a tensorfile; its template and style lie beside it."""
