"""The report as one page for a browser: a timeline with a lane for each member.

``page.html`` is the page with its style and script.  Only the report is inserted, as JSON.  The
page needs no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from toystore.logs.document import document
from toystore.logs.report import Report

_PLACE = '{"report": null}'


def page(report: Report) -> Iterator[str]:
    """The page, in pieces."""
    template = (files("toystore.logs") / "page.html").read_text(encoding="utf-8")
    before, place, after = template.partition(_PLACE)
    assert place, "page.html has no place for the report"
    yield before
    for piece in document(report, in_words=True):
        yield piece.replace("<", "\\u003c")
    yield after
