"""Generated images with exact masks, the embedded default: one can begin before having data."""

from __future__ import annotations

from unetkit.data.synthetic.aerial import roads
from unetkit.data.synthetic.drawing import LEAST
from unetkit.data.synthetic.folder import KINDS, make
from unetkit.data.synthetic.ground import BANDS
from unetkit.data.synthetic.retina import vessels
from unetkit.data.synthetic.satellite import satellite
from unetkit.data.synthetic.scan import SPACING, volume
from unetkit.data.synthetic.tissue import cells, membranes

__all__ = [
    "BANDS",
    "KINDS",
    "LEAST",
    "SPACING",
    "cells",
    "make",
    "membranes",
    "roads",
    "satellite",
    "vessels",
    "volume",
]
