"""How Sphinx makes the pages: `make docs`. What can be read off the program is written into them as they are read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from made import MADE, filled  # noqa: E402 - found on the path above

from optimizer.version import __version__  # noqa: E402

project = "phrasetune"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"phrasetune {__version__}"
html_show_copyright = False
html_copy_source = False
myst_heading_anchors = 3
default_role = "code"  # single backticks in docstrings are code, as in the pages
napoleon_google_docstring = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# scikit-learn puts `set_score_request` there, whose text refers to its own pages.
autodoc_default_options = {"members": True, "exclude-members": "set_score_request"}
python_display_short_literal_types = True


def setup(app: Sphinx) -> None:
    """Fill the pages that are made; they are read anew each time, since what they tell of stands elsewhere."""
    app.connect("source-read", lambda _app, page, source: source.__setitem__(0, filled(page, source[0])))
    app.connect("env-get-outdated", lambda *_: list(MADE))
