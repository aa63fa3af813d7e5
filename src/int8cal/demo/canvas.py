"""A pinhole camera above a flat road, and a canvas that is painted in metres.

World coordinates are those of KITTI's camera: x to the right, y up from the road, z forward, in metres. Beside its
colour every painted surface has a *roughness*, kept in the alpha channel until the sensor turns it into texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from PIL import Image, ImageDraw

from int8cal.types import Size

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Point3: TypeAlias = tuple[float, float, float]

NEAR = 1.0  # metres: nothing is painted closer to the camera


def shade(colour: Colour, factor: float) -> Colour:
    """The same colour in more or less light; ``factor`` is positive."""
    red, green, blue = colour
    return min(255, round(red * factor)), min(255, round(green * factor)), min(255, round(blue * factor))


@dataclass(frozen=True)
class Camera:
    """Pinhole camera looking along the road.

    Attributes:
        size: picture size.
        eye: height above the road, metres.
        centre: horizontal position of the vanishing point, as a share of the width.
        horizon: vertical position of the vanishing point, as a share of the height.
        focal: focal length, as a share of the width (0.58 is KITTI's).
    """

    size: Size
    eye: float = 1.65
    centre: float = 0.5
    horizon: float = 0.47
    focal: float = 0.58

    def project(self, point: Point3) -> Point:
        """World position, metres → picture position, pixels."""
        x, y, z = point
        focal, centre, horizon = self._in_pixels
        scale = focal / max(z, NEAR)
        return centre + scale * x, horizon + scale * (self.eye - y)

    @cached_property
    def _in_pixels(self) -> tuple[float, float, float]:
        """Focal length and vanishing point, which a picture asks for thousands of times."""
        return self.focal * self.size.width, self.centre * self.size.width, self.horizon * self.size.height


class Drawing:
    """What the camera sees, painted from far to near."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        height, width = camera.size
        self.image = Image.new("RGBA", (width, height))
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point3], colour: Colour, roughness: int = 40) -> None:
        """Paint a flat polygon given in metres."""
        self.flat_polygon([self.camera.project(point) for point in points], colour, roughness)

    def upright(
        self, left: float, right: float, bottom: float, top: float, z: float, colour: Colour, roughness: int = 40
    ) -> None:
        """Paint a rectangle that faces the camera at distance ``z``."""
        self.flat_rectangle(
            self.camera.project((left, top, z)), self.camera.project((right, bottom, z)), colour, roughness
        )

    def disc(self, centre: Point3, radius_x: float, radius_y: float, colour: Colour, roughness: int = 40) -> None:
        """Paint an ellipse that faces the camera; radii in metres."""
        x, y, z = centre
        corners = (
            *self.camera.project((x - radius_x, y + radius_y, z)),
            *self.camera.project((x + radius_x, y - radius_y, z)),
        )
        self._draw.ellipse(corners, (*colour, roughness))

    def line(self, points: Sequence[Point3], thickness: float, colour: Colour, roughness: int = 40) -> None:
        """Paint a line through points at about the same distance; thickness in metres."""
        (left, _), (right, _) = (self.camera.project((x, 0.0, points[0][2])) for x in (0.0, thickness))
        pixels = max(1, round(right - left))
        self._draw.line([self.camera.project(point) for point in points], (*colour, roughness), pixels, joint="curve")

    def flat_polygon(self, points: Sequence[Point], colour: Colour, roughness: int = 40) -> None:
        """Paint a polygon given in pixels."""
        self._draw.polygon(points, (*colour, roughness))

    def flat_rectangle(self, top_left: Point, bottom_right: Point, colour: Colour, roughness: int = 40) -> None:
        """Paint a rectangle given in pixels."""
        self._draw.rectangle((*top_left, *bottom_right), (*colour, roughness))
