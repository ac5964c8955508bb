"""Axes and marks as SVG: data in, elements out. Knows no record.

Every text is escaped here, and colours are CSS classes, so that a page can draw the same picture light, dark and on
paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from optimizer.errors import ExportError

WIDTH = 720
RIGHT = WIDTH - 22
# The colours of a picture in its own file; within a page, the page's stylesheet sets them.
STYLE = """text { font: 12px system-ui, sans-serif; fill: #5d6778; }
.grid { stroke: #dfe3ea; } .mark { stroke: #2a6fdb; fill: #2a6fdb; } .faint { stroke: #b9c6dc; fill: #b9c6dc; }
.other { stroke: #b4540a; fill: #b4540a; }
.line { fill: none; stroke-width: 2; } .span { stroke-width: 7; stroke-linecap: round; }
.band { stroke: none; fill-opacity: .18; }
.dash { stroke-dasharray: 6 4; } .ring { fill: none; stroke: #1c2330; stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: a name for its file, a title, a note on how to read it, and its elements."""

    name: str
    title: str
    note: str
    height: float
    elements: tuple[str, ...]

    def inline(self) -> str:
        """Return the picture as a part of a page."""
        return self._svg("", "")

    def file(self) -> str:
        """Return the picture as an SVG file of its own, with its colours on white."""
        paper = f'<rect width="{WIDTH}" height="{self.height:g}" fill="#fff"/>'
        return self._svg(' xmlns="http://www.w3.org/2000/svg"', f"<style>{STYLE}</style>{paper}") + "\n"

    def png(self) -> bytes:
        """Return the picture as a PNG of twice its width, for places that accept no SVG.

        Raises
        ------
        ExportError
            If the package that draws it is not installed.
        """
        try:
            import resvg_py
        except ImportError:
            raise ExportError('PNG needs one more package: pip install "phrasetune[pictures]". Or take SVG.') from None
        return bytes(resvg_py.svg_to_bytes(svg_string=self.file(), width=2 * WIDTH))

    def _svg(self, attributes: str, head: str) -> str:
        box = f'viewBox="0 0 {WIDTH} {self.height:g}" width="{WIDTH}" height="{self.height:g}"'
        label = f"<title>{escape(self.title)}</title>"
        return f'<svg{attributes} {box} role="img">{label}{head}{"".join(self.elements)}</svg>'


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to positions between two ends of a picture; `ticks` are values with their labels."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        low, high, at = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Return the finest multiples of 1, 2 or 5 times a power of ten that cover [low, high] in at most `most` steps."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(s * power for s in (1, 2, 5, 10, 20) if span / (s * power) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def scores(values: Iterable[float], start: float, end: float) -> Scale:
    """Return a scale of scores, labelled in percent, that covers the values and five points around them.

    It ends at 1, and begins at 0 unless a value lies below that: a correlation is as low as -1.
    """
    known = list(values) or [0.0, 1.0]
    least = 0.0 if min(known) >= 0 else -1.0
    steps = round_steps(max(least, min(known) - 0.05) * 100, min(1.0, max(known) + 0.05) * 100)
    steps = [step for step in steps if 100 * least - 1e-9 <= step <= 100 + 1e-9]
    return Scale(steps[0] / 100, steps[-1] / 100, start, end, [(step / 100, f"{step:g}") for step in steps])


def amounts(values: Iterable[float], start: float, end: float, write: Callable[[float], str]) -> Scale:
    """Return a scale of amounts that starts at zero."""
    steps = round_steps(0, max(values, default=1.0) or 1.0)
    return Scale(0, steps[-1], start, end, [(step, write(step)) for step in steps])


@dataclass(frozen=True, slots=True)
class Plot:
    """An area between two axes, on which marks are drawn one over the other."""

    x: Scale
    y: Scale
    elements: list[str] = field(default_factory=list)

    def axes(self, below: str, *, rows: bool = True) -> None:
        """Draw the lines of both axes (without `rows` only those of the lower one), and label the lower one."""
        bottom, top = max(self.y.start, self.y.end), min(self.y.start, self.y.end)
        for value, said in self.y.ticks if rows else ():
            self._line(self.x.start, self.y(value), self.x.end, self.y(value), "grid")
            self.text(self.x.start - 8, self.y(value) + 4, said, "end")
        for value, said in self.x.ticks:
            if not rows:
                self._line(self.x(value), top, self.x(value), bottom, "grid")
            self.text(self.x(value), bottom + 18, said, "middle")
        self.text((self.x.start + self.x.end) / 2, bottom + 38, below, "middle")

    def text(self, x: float, y: float, said: str, anchor: str = "start") -> None:
        """Write at a position of the picture, not of the data."""
        self.elements.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>')

    def dot(self, x: float, y: float, look: str, said: str = "", radius: float = 5) -> None:
        """Draw a point, with a tooltip if there is something to say."""
        told = f"<title>{escape(said)}</title>" if said else ""
        place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:g}"'
        self.elements.append(f'<circle {place} class="{look}">{told}</circle>')

    def upright(self, x: float, low: float, high: float, look: str) -> None:
        """Draw an interval of y."""
        self._line(self.x(x), self.y(low), self.x(x), self.y(high), look)

    def level(self, y: float, low: float, high: float, look: str) -> None:
        """Draw an interval of x."""
        self._line(self.x(low), self.y(y), self.x(high), self.y(y), look)

    def path(self, points: Sequence[tuple[float, float]], look: str) -> None:
        """Draw a line through points."""
        self.elements.append(f'<polyline points="{self._places(points)}" class="{look}"/>')

    def band(self, points: Sequence[tuple[float, float, float]], look: str) -> None:
        """Shade between the second and the third of each (x, low, high)."""
        edge = [(x, low) for x, low, _ in points] + [(x, high) for x, _, high in reversed(points)]
        self.elements.append(f'<polygon points="{self._places(edge)}" class="{look}"/>')

    def _places(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)

    def _line(self, x1: float, y1: float, x2: float, y2: float, look: str) -> None:
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self.elements.append(f'<line {ends} class="{look}"/>')
