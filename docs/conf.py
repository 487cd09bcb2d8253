"""How Sphinx builds these pages, by ``make docs`` into ``build/docs``: nothing is fetched, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from asyncproxy import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "asyncproxy"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "configuration_reference"]
exclude_patterns = ["extensions"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # single backticks in docstrings: a link where there is something to link to, else code
    ("py:.*", r"(twisted|zope|msgspec|pytest|concurrent|contextvars|collections|os|types)\..*"),  # nothing is fetched
    ("py:class", "HeaderSource|ResponseBody|Data|Forward|Fetch"),  # aliases, told in words, and what is only awaited
    ("py:.*", r"asyncproxy\.[a-z]+\..*"),  # what is in the rooms is no interface
]
default_role = "py:obj"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
html_theme = "furo"
html_title = f"asyncproxy {__version__}"
html_copy_source = False
html_show_copyright = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False


def _list_decisions(_app: Any, name: str, source: list[str]) -> None:
    """The page of decisions, which is read as plain Markdown too, lists them for people; here it does for Sphinx."""
    if name == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def setup(app: Any) -> None:
    """What the configuration adds to Sphinx."""
    app.connect("source-read", _list_decisions)
