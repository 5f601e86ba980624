"""A dark card to draw on with Pillow, which is imported when the first picture is drawn."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

CARD = "#2b2d31"
_RADIUS = 24.0
# Pillow draws shapes with hard edges: everything is drawn at twice its size, then halved.
_SCALE = 2

Point = tuple[float, float]


class Paper:
    """A card with round corners, transparent around them. All measures are in pixels from the top left."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.new("RGBA", (width * _SCALE, height * _SCALE))
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[int, Font] = {}
        self.bar((0, 0), (width, height), CARD, _RADIUS)

    def length(self, words: str, size: int) -> float:
        """How long these words are."""
        return self._font(size).getlength(words) / _SCALE

    def words(self, at: Point, words: str, size: int, colour: str, anchor: str = "ls") -> None:
        """Write in one line; `anchor` as Pillow names it, by default the left end of the baseline."""
        self._draw.text(_scaled(at), words, colour, self._font(size), anchor)

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """Straight lines from point to point."""
        self._draw.line([_scaled(point) for point in points], colour, round(width * _SCALE), "curve")

    def bar(self, top_left: Point, bottom_right: Point, colour: str, radius: float = 0, flat: bool = False) -> None:
        """A filled rectangle with round corners; if `flat`, the lower ones are not."""
        (left, top), (right, bottom) = _scaled(top_left), _scaled(bottom_right)
        corners = (True, True, not flat, not flat)
        if right > left and bottom > top:
            fits = min(radius * _SCALE, (right - left) / 2, bottom - top if flat else (bottom - top) / 2)
            self._draw.rounded_rectangle((left, top, right - 1, bottom - 1), fits, colour, corners=corners)

    def area(self, points: Sequence[Point], bottom: float, colour: str) -> None:
        """What lies between a line from left to right and the bottom."""
        (first, _), (last, _) = points[0], points[-1]
        outline = [(first, bottom), *points, (last, bottom)]
        self._draw.polygon([_scaled(point) for point in outline], colour)

    def png(self) -> bytes:
        """The picture as a file."""
        target = io.BytesIO()
        self._image.reduce(_SCALE).save(target, "PNG", compress_level=3)
        return target.getvalue()

    def _font(self, size: int) -> "Font":
        from PIL import ImageFont

        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size * _SCALE)
        return self._fonts[size]


def _scaled(point: Point) -> Point:
    return round(point[0] * _SCALE), round(point[1] * _SCALE)


def mixed(colour: str, share: float, ground: str = CARD) -> str:
    """A colour as it looks over another when it covers that only in part."""
    pairs = ((int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(over * share + under * (1 - share)):02x}" for over, under in pairs)
