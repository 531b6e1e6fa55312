"""A report's content, apart from its form: sections of facts, text, tables and figures.

The same content is written as a self-contained HTML page (:func:`html_page`), or as Markdown with
PNG files beside it (:func:`write_markdown`). In every text, words between backticks are code, those
between double asterisks strong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from bamac.files import write_text

from .drawing import Drawing

__all__ = ["Bullets", "Document", "Facts", "Figure", "Paragraph", "Section", "Table", "html_page",
           "write_markdown"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Facts:
    """Headline figures, ``(label, value, note)`` each."""

    entries: list
    kind = "facts"


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of text; Markdown."""

    text: str
    kind = "paragraph"


@dataclass(frozen=True)
class Bullets:
    """A list of texts."""

    entries: list
    kind = "bullets"


@dataclass(frozen=True)
class Table:
    """Rows of texts. The first column is aligned to the left, the others to the right.

    With ``wrap``, the last column is aligned to the left too and may break lines.
    """

    header: list
    rows: list
    wrap: bool = False
    kind = "table"


@dataclass(frozen=True)
class Figure:
    """A plot with an optional caption."""

    drawing: Drawing
    caption: str = ""
    kind = "figure"


@dataclass(frozen=True)
class Section:
    """A title and what stands under it."""

    title: str
    blocks: list


@dataclass(frozen=True)
class Document:
    """A report; ``lead`` is one sentence under the title, ``blocks`` come before the sections."""

    title: str
    lead: str
    blocks: list = field(default_factory=list)
    sections: list = field(default_factory=list)


def _code(text):
    """Escaped text for HTML, with its code and its strong words marked up."""
    from markupsafe import Markup, escape

    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text))


def html_page(document):
    """The document as one self-contained HTML page, for light and dark, wide and narrow."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    environment.filters["code"] = _code
    return environment.get_template("document.html.j2").render(
        document=document, css=(HERE / "report.css").read_text(encoding="utf-8"))


def _cells(row):
    texts = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in row)
    return f"| {' | '.join(texts)} |"


def _markdown_block(block, folder):
    if block.kind == "facts":
        return [_cells(("", "", "")), "|---|---|---|", *(_cells(entry) for entry in block.entries)]
    if block.kind == "paragraph":
        return [block.text]
    if block.kind == "bullets":
        return [f"- {entry}" for entry in block.entries]
    if block.kind == "table":
        rule = ["---"] + ["--:"] * (len(block.header) - 1)
        if block.wrap:
            rule[-1] = "---"
        return [_cells(block.header), "|" + "|".join(rule) + "|", *map(_cells, block.rows)]
    name = re.sub(r"\W+", "-", block.drawing.description.lower()).strip("-") + ".png"
    block.drawing.png(folder / name)
    lines = [f"![{block.drawing.description}]({name})"]
    return lines + (["", block.caption] if block.caption else [])


def write_markdown(document, folder):
    """Write ``README.md`` and its figures into ``folder``, which is created if needed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {document.title}", "", document.lead, ""]
    for block in document.blocks:
        lines += [*_markdown_block(block, folder), ""]
    for section in document.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*_markdown_block(block, folder), ""]
    write_text(folder / "README.md", "\n".join(lines).rstrip() + "\n")
