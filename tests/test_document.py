"""Documents: one content, written as a page and as Markdown."""

import re

from bamac.report.document import (
    Bullets,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Table,
    html_page,
    write_markdown,
)
from bamac.report.drawing import Drawing


def _draw(figure, paint):
    figure.subplots().barh(["a"], [1], color=paint.series[0])


DOCUMENT = Document("A <title>", "Lead with `code`.", [Facts([("Cycles", "1,000", "counted")])], [
    Section("First", [Paragraph("5 < 6 and **strong**."), Bullets(["one `x|y`"]),
                      Table(["name", "n"], [["a|b", 1], ["c", 2]])]),
    Section("Second", [Figure(Drawing(_draw, 1.5, "A plot of a"), "Caption.")])])


def test_page_escapes_texts_and_marks_code_and_strong_words():
    page = html_page(DOCUMENT)
    assert "<h1>A &lt;title&gt;</h1>" in page and "5 &lt; 6 and <strong>strong</strong>" in page
    assert "Lead with <code>code</code>." in page and "<li>one <code>x|y</code></li>" in page
    assert page.index("<dt>Cycles</dt>") < page.index("<h2>First</h2>") < page.index("<svg")
    assert "prefers-color-scheme: dark" in page and "http" not in re.sub(
        r"https?://(www\.w3\.org|purl\.org|creativecommons\.org)", "", page)


def test_markdown_has_the_same_content_and_its_figures(tmp_path):
    write_markdown(DOCUMENT, tmp_path / "new")
    text = (tmp_path / "new" / "README.md").read_text()
    assert text.startswith("# A <title>\n\nLead with `code`.\n\n|  |  |  |\n|---|---|---|\n"
                           "| Cycles | 1,000 | counted |\n\n## First\n")
    assert "| name | n |\n|---|--:|\n| a\\|b | 1 |\n| c | 2 |\n" in text
    assert text.endswith("![A plot of a](a-plot-of-a.png)\n\nCaption.\n")
    assert (tmp_path / "new" / "a-plot-of-a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["README.md", "a-plot-of-a.png"]


def test_drawings_have_the_colours_of_the_page_or_of_paper(tmp_path):
    drawing = Drawing(_draw, 1.5, "A plot of a")
    svg = drawing.svg()
    assert "var(--c1)" in svg and re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
    drawing.png(tmp_path / "plot.png")
    import matplotlib.image

    pixels = matplotlib.image.imread(tmp_path / "plot.png")
    assert (pixels[0, 0, :3] == 1).all()
    blue = abs(pixels[..., :3] - [0x2f / 255, 0x6f / 255, 0xb4 / 255]).max(-1) < 0.01
    assert blue.mean() > 0.1
