"""Make the second target: DRIVE's images with their fields of view as masks, in build/drive-fov.

Run from the checkout: python docs/studies/depth-skips-drive/targets.py ../shared/data/drive
"""

import shutil
import sys
from pathlib import Path

source, target = Path(sys.argv[1]), Path("build/drive-fov")
for ours, theirs in (("images", "images"), ("masks", "fov")):
    shutil.copytree(source / theirs, target / ours, dirs_exist_ok=True)
shutil.copy(source / "split.json", target)
print(f"{target}: {len(list((target / 'masks').iterdir()))} cases")
