"""The table of public data sets: cells, nuclei and membranes under the microscope."""

from __future__ import annotations

from unetkit.data.catalog.entry import Entry, File
from unetkit.data.catalog.splits import DRAWN

_CTC = "https://data.celltrackingchallenge.net/training-datasets"
_CELLS = "cells, instances"
_NUCLEI = "nuclei, instances"
_FLUORESCENCE = "fluorescence"


def cells() -> list[Entry]:
    """Give the entries of cells."""
    sequences = "sequence 01 train and val (its last fifth), 02 test; labelled frames only, those "
    sequences += "with undrawn cells listed as partial"
    labelled = {"PhC-C2DH-U373": 34, "DIC-C2DH-HeLa": 18}
    # name, what it shows, instances of what, microscopy, pixels, megabytes, sha256
    videos = (
        ("PhC-C2DH-U373", "glioblastoma-astrocytoma cells", _CELLS, "phase contrast", "696 × 520",
         40, "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e"),
        ("DIC-C2DH-HeLa", "HeLa cells on glass", _CELLS, "differential interference contrast",
         "512 × 512", 37, "832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a"),
        ("Fluo-N2DH-GOWT1", "nuclei of mouse stem cells", _NUCLEI, _FLUORESCENCE, "1024 × 1024",
         53, "1a7bd9a7d1d10c4122c7782427b437246fb69cc3322a975485c04e206f64fc2c"),
        ("Fluo-N2DL-HeLa", "nuclei of HeLa cells", _NUCLEI, _FLUORESCENCE, "1100 × 700",
         182, "35dd99d58e071aba0b03880128d920bd1c063783cc280f9531fbdc5be614c82e"),
        ("PhC-C2DL-PSC", "pancreatic stem cells, many and small", _CELLS, "phase contrast",
         "720 × 576", 124, "9d54bb8febc8798934a21bf92e05d92f5e8557c87e28834b2832591cdda78422"),
        ("Fluo-C2DL-MSC", "rat mesenchymal stem cells", _CELLS, _FLUORESCENCE, "various sizes",
         72, "a083521f0cb673ae02d4957c5e6580c2e021943ef88101f6a2f61b944d671af2"),
        ("Fluo-N2DH-SIM+", "simulated nuclei of HL60 cells", _NUCLEI, "simulated fluorescence",
         "various sizes", 91, "3e809148c87ace80c72f563b56c35e0d9448dcdeb461a09c83f61e93f5e40ec8"),
        ("Fluo-N3DH-CE", "nuclei of a C. elegans embryo, slices of volumes", _NUCLEI,
         _FLUORESCENCE, "708 × 512", 3428,
         "eb3d37cacb3b51d3a427a0c43deaaf1d60cf2eba009f12569e720c2c2fd1e04c"),
        ("Fluo-N3DH-CHO", "nuclei of CHO cells, volumes", _NUCLEI, _FLUORESCENCE, "512 × 443 × 5",
         98, "48d7e32b6408dddd04f1b6e4153e91f19181b405f4c75610629a25e05d40fe77"),
    )  # fmt: skip
    return [
        Entry(
            name="dsb2018",
            title="Data Science Bowl 2018, stage 1 train (BBBC038v1): nuclei",
            task=_NUCLEI,
            modality="fluorescence and bright-field microscopy, mixed",
            licence="CC0",
            citation="Caicedo et al., Nat. Methods 16:1247-1253, 2019, "
            "https://doi.org/10.1038/s41592-019-0612-7",
            home="https://bbbc.broadinstitute.org/BBBC038",
            layout="dsb",
            split=DRAWN,
            images=670,
            megabytes=82.9,
            files=(File("https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip"),),
        ),
        Entry(
            name="isbi2012_em",
            title="ISBI 2012 EM challenge: membranes of neurons, slices of a stack",
            task="membranes, binary",
            modality="serial-section transmission electron microscopy",
            licence="non-commercial research, with citation",
            citation="Arganda-Carreras et al., Front. Neuroanat. 9:142, 2015, "
            "https://doi.org/10.3389/fnana.2015.00142; Cardona et al., PLoS Biol. 8(10):e1000502, "
            "2010, https://doi.org/10.1371/journal.pbio.1000502",
            home="https://imagej.net/events/isbi-2012-segmentation-challenge",
            layout="isbi",
            split="train and val (the last fifth) from the training stack, test from the test "
            "stack; where that comes without labels, the last sixth of the training stack is test",
            images=30,
            pixels="512 × 512",
            files=(File("https://downloads.imagej.net/ISBI-2012-challenge.zip"),),
        ),
        *(
            Entry(
                name="ctc_" + name.lower().replace("-", "_").rstrip("+"),
                title=f"Cell Tracking Challenge {name}: {shown}",
                task=task,
                modality=f"{modality}, video"
                if "micro" in modality
                else f"{modality} microscopy, video",
                licence="challenge conditions: research with citation; other public use needs the "
                "permission of the data's owners",
                citation="Maska et al., Nat. Methods 20:1010-1020, 2023, "
                "https://doi.org/10.1038/s41592-023-01879-y",
                home=f"https://celltrackingchallenge.net/{'3d' if '3D' in name else '2d'}-datasets",
                layout="ctc",
                split=sequences,
                images=labelled.get(name),
                pixels=pixels,
                megabytes=megabytes,
                files=(File(f"{_CTC}/{name}.zip", f"sha256:{checksum}"),),
            )
            for name, shown, task, modality, pixels, megabytes, checksum in videos
        ),
    ]
