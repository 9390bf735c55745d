"""The table of public data sets: eyes, skin, and organs in volumes."""

from __future__ import annotations

from unetkit.data.catalog.entry import Entry, File
from unetkit.data.catalog.splits import DRAWN

_STARE = "https://cecas.clemson.edu/~ahoover/stare/probing"
_ISIC = "https://isic-challenge-data.s3.amazonaws.com/2018"
_VESSELS = "vessels, binary"
_FUNDUS = "colour fundus photographs"


def eyes() -> list[Entry]:
    """Give the entries of eyes."""
    return [
        Entry(
            name="stare",
            title="STARE: retinal vessels, two observers",
            task=_VESSELS,
            modality=_FUNDUS,
            licence="public for research, no explicit licence found",
            citation="Hoover, Kouznetsova, Goldbaum, IEEE TMI 19(3):203-210, 2000, "
            "https://doi.org/10.1109/42.845178",
            home="https://cecas.clemson.edu/~ahoover/stare/",
            layout="stare",
            split="the usual halves by name: first ten images train (8) and val (2), others test",
            images=20,
            pixels="700 × 605",
            files=(
                File(
                    f"{_STARE}/stare-images.tar",
                    "sha256:5f7b509b6067cad4f1be84933145d783de9ec087b3eaaf4db0103dd0144dd433",
                ),
                File(
                    f"{_STARE}/labels-ah.tar",
                    "sha256:ebf2f1e17ca955f24579d9edd990e2dae79a5c82def69f0985d8e24f826ddd2f",
                ),
                File(
                    f"{_STARE}/labels-vk.tar",
                    "sha256:47474a701536b0cfdb369fdce012be36141e9f44d80387f0179446b5cb0f5576",
                ),
            ),
        ),
        Entry(
            name="chase_db1",
            title="CHASE_DB1: retinal vessels of children, two observers",
            task=_VESSELS,
            modality=_FUNDUS,
            licence="CC BY 4.0",
            citation="Fraz et al., IEEE TBME 59(9):2538-2548, 2012, "
            "https://doi.org/10.1109/TBME.2012.2205687",
            home="https://researchdata.kingston.ac.uk/96/",
            layout="chase",
            split="the usual one by name: first 20 images train (16) and val (4), last 8 test; "
            "both eyes of a child stay together",
            images=28,
            pixels="999 × 960",
            files=(File("https://researchdata.kingston.ac.uk/96/1/CHASEDB1.zip"),),
        ),
        Entry(
            name="drive",
            title="DRIVE: retinal vessels with field of view, two observers of the test images",
            task=_VESSELS,
            modality=_FUNDUS,
            licence="research and education only, no redistribution",
            citation="Staal et al., IEEE TMI 23(4):501-509, 2004, "
            "https://doi.org/10.1109/TMI.2004.825627",
            home="https://drive.grand-challenge.org/",
            layout="drive",
            split="the official one: images 21 to 40 train (16) and val (4), 01 to 20 test; where "
            "the test images come without labels, 21 to 36 train (13) and val (3), 37 to 40 test",
            images=40,
            pixels="565 × 584",
            registration="join the challenge at https://drive.grand-challenge.org/ (free) and "
            "download training and test images; put both zip files into one folder to import both",
        ),
    ]


def lesions() -> list[Entry]:
    """Give the entries of lesions."""
    known = {
        "Task1-2_Training_Input": (
            "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f", 11_165_358_566),
        "Task1_Training_GroundTruth": (
            "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c", 27_402_895),
        "Task1-2_Validation_Input": (
            "0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797", 239_231_159),
        "Task1_Validation_GroundTruth": (
            "f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285", 759_706),
        "Task1-2_Test_Input": (
            "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d", 2_370_457_338),
        "Task1_Test_GroundTruth": (
            "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82", 9_680_101),
    }  # fmt: skip
    return [
        Entry(
            name="isic2018",
            title="ISIC 2018, task 1: skin lesions",
            task="lesions, binary",
            modality="dermoscopy",
            licence="as LICENSE and ATTRIBUTION in its archives say (CC0 and CC BY-NC are quoted)",
            citation="Codella et al., arXiv:1902.03368, 2019; Tschandl, Rosendahl, Kittler, "
            "Sci. Data 5:180161, 2018, https://doi.org/10.1038/sdata.2018.161",
            home="https://challenge.isic-archive.com/data/#2018",
            layout="isic",
            split="the official one: 2594 train, 100 val, 1000 test",
            images=3694,
            pixels="540 to 6748 pixels a side",
            megabytes=13_813,
            files=tuple(
                File(f"{_ISIC}/ISIC2018_{name}.zip", f"sha256:{checksum}", size)
                for name, (checksum, size) in known.items()
            ),
        ),
        Entry(
            name="ph2",
            title="PH2: skin lesions",
            task="lesions, binary",
            modality="dermoscopy",
            licence="research after registration, no redistribution",
            citation="Mendonca et al., EMBC 2013, 5437-5440, "
            "https://doi.org/10.1109/EMBC.2013.6610779",
            home="https://www.fc.up.pt/addi/ph2%20database.html",
            layout="ph2",
            split=DRAWN,
            images=200,
            pixels="about 768 × 560",
            registration="fill in the form at https://www.fc.up.pt/addi/ph2%20database.html and "
            "download PH2Dataset (unpack it yourself if it comes as .rar, and give the folder)",
        ),
    ]


def organs() -> list[Entry]:
    """Give the entries of organs."""
    # task, what is found, how it was taken, labelled volumes, megabytes, sha256
    tasks = (
        ("Task01_BrainTumour", "brain tumours", "MRI, four sequences", 484, None,
         "d423911308d2ae5396d9c6bf4fad2b68cfde2dd09044269da9c0d639c22753c4"),
        ("Task02_Heart", "left atrium", "MRI", 20, None,
         "4277dc6dfe100142aa8060e895f6ff0f81c5b733703ea250bd294df8f820bcba"),
        ("Task03_Liver", "liver and its tumours", "CT", 131, None,
         "4007d9db1acda850d57a6ceb2b3998b7a0d43f8ad5a3f740dc38bc0cb8b7a2c5"),
        ("Task04_Hippocampus", "anterior and posterior hippocampus", "MRI", 260, 28.4,
         "282d808a3e84e5a52f090d9dd4c0b0057b94a6bd51ad41569aef5ff303287771"),
        ("Task05_Prostate", "peripheral and transition zone of the prostate",
         "MRI, two sequences", 32, None,
         "8cbbd7147691109b880ff8774eb6ab26704b1be0935482e7996a36a4ed31ec79"),
        ("Task06_Lung", "lung tumours", "CT", 63, None,
         "f782cd09da9cf7a3128475d4a53650d371db10f0427aa76e166fccfcb2654161"),
        ("Task07_Pancreas", "pancreas and its tumours", "CT", 281, 11_450,
         "e40181a0229ca85c2588d6ebb90fa6674f84eb1e66f0f968cda088d011769732"),
        ("Task08_HepaticVessel", "vessels of the liver and tumours", "CT", 303, None,
         "ee880799f12e3b6e1ef2f8645f6626c5b39de77a4f1eae6f496c25fbf306ba04"),
        ("Task09_Spleen", "spleen", "CT", 41, 1610,
         "dfeba347daae4fb08c38f4d243ab606b28b91b206ffc445ec55c35489fa65e60"),
        ("Task10_Colon", "colon cancer", "CT", 126, None,
         "a26bfd23faf2de703f5a51a262cd4e2b9774c47e7fb86f0e0a854f8446ec2325"),
    )  # fmt: skip
    sizes = {"Task04_Hippocampus": 28_425_216, "Task09_Spleen": 1_610_352_640}
    return [
        Entry(
            name="msd_" + name.lower(),
            title=f"Medical Segmentation Decathlon {name.replace('_', ', ')}: {shown}",
            task=f"{shown}, classes",
            modality=modality,
            licence="CC BY-SA 4.0",
            citation="Antonelli et al., Nat. Commun. 13:4128, 2022, "
            "https://doi.org/10.1038/s41467-022-30695-9; Simpson et al., arXiv:1902.09063",
            home="http://medicaldecathlon.com/",
            layout="msd",
            split=f"the labelled volumes, {DRAWN}; those without labels are left out",
            images=volumes,
            pixels="volumes of various sizes",
            megabytes=megabytes,
            files=(
                File(
                    f"https://msd-for-monai.s3-us-west-2.amazonaws.com/{name}.tar",
                    f"sha256:{checksum}",
                    sizes.get(name),
                ),
            ),
        )
        for name, shown, modality, volumes, megabytes, checksum in tasks
    ]
