"""Where a picture lies on the Earth: its coordinate system and the map from pixels to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Georeference:
    """The place of a picture on a map.

    Attributes:
        transform: (a, b, c, d, e, f) with x = a·column + b·row + c and y = d·column + e·row + f, in
            the unit of the coordinate system, where (0, 0) is the outer corner of the first pixel
            (the order of GDAL's affine transforms as rasterio gives them).
        crs: the coordinate system, such as "EPSG:4326"; "" where the file does not say.
        tags: the GeoTIFF key tags as the file had them, (code, value) in the order of codes, so
            that a written file says exactly the same.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str = ""
    tags: tuple[tuple[int, tuple[int | float, ...] | str], ...] = ()

    @property
    def spacing(self) -> tuple[float, float]:
        """Size of a pixel (y, x) in the unit of the coordinate system."""
        a, b, _, d, e, _ = self.transform
        return float(np.hypot(b, e)), float(np.hypot(a, d))

    def moved(self, row: int, column: int) -> Georeference:
        """Give the place of a window that begins at (row, column)."""
        a, b, c, d, e, f = self.transform
        corner = (a, b, c + a * column + b * row, d, e, f + d * column + e * row)
        return replace(self, transform=corner)
