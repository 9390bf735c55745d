"""The trained artefact: one file that knows everything prediction needs, and how to apply it."""

from unetkit.segmenter.card import Card, read_card, read_weights, save
from unetkit.segmenter.loading import load, reload
from unetkit.segmenter.member import Member, Source
from unetkit.segmenter.segmentation import Segmentation, label
from unetkit.segmenter.segmenter import Segmenter

__all__ = [
    "Card",
    "Member",
    "Segmentation",
    "Segmenter",
    "Source",
    "label",
    "load",
    "read_card",
    "read_weights",
    "reload",
    "save",
]
