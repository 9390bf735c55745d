"""The front door: the names that are promised, each loaded when it is first used."""

import importlib
import subprocess
import sys
from types import FunctionType

import pytest

import unetkit

EXPORTS = {
    "Dataset", "Image", "InputError", "LossConfig", "NetworkConfig", "Recipe", "Segmentation",
    "Segmenter", "UNet", "check", "evaluate", "load", "predict", "read_dataset", "read_image",
    "read_recipe", "run_study", "score", "train", "write_image", "write_report",
}  # fmt: skip
FUNCTIONS = sorted(name for name in EXPORTS if name[0].islower())


def python(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_export_list():
    assert set(unetkit.__all__) == EXPORTS
    assert unetkit.__all__ == sorted(unetkit.__all__)
    assert set(dir(unetkit)) == EXPORTS | {"__version__"}


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_every_name_has_words_of_its_own(name):
    thing = getattr(unetkit, name)
    assert thing.__doc__.strip()
    assert thing.__name__ == name
    room = importlib.import_module(f"unetkit.{thing.__module__.split('.')[1]}")
    assert getattr(room, name) is thing


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'unetkit' has no attribute 'frob'"):
        _ = unetkit.frob
    with pytest.raises(ImportError):
        exec("from unetkit import frob")


@pytest.mark.parametrize("before", [
    "",
    "import unetkit.cli, unetkit.demo, unetkit.application, unetkit.evaluation, unetkit.training",
    "import unetkit.data.checks, unetkit.prediction, unetkit.report.assemble, unetkit.segmenter",
])  # fmt: skip
def test_functions_are_functions_whatever_was_imported_before(before):
    """A submodule of the same name would take the place of a function."""
    code = f"""
{before}
from unetkit import load, train, predict, evaluate, UNet, NetworkConfig
import unetkit
from types import FunctionType
for name in {FUNCTIONS[::-1]}:
    assert isinstance(getattr(unetkit, name), FunctionType), name
import unetkit.training, unetkit.evaluation, unetkit.prediction, unetkit.data.checks
assert all(isinstance(getattr(unetkit, name), FunctionType) for name in {FUNCTIONS})
from unetkit import *
assert isinstance(train, FunctionType)
"""
    python(code)
    assert all(isinstance(getattr(unetkit, name), FunctionType) for name in FUNCTIONS)


HEAVY = "('torch', 'numpy', 'scipy', 'skimage', 'matplotlib', 'PIL', 'yaml')"


@pytest.mark.parametrize("code", [
    "import unetkit; dir(unetkit); unetkit.__version__",
    "import unetkit.cli, sys; sys.argv = ['unet', '--help']; unetkit.cli.main()",
    "import unetkit.cli, sys; sys.argv = ['unet', 'train', '--help']; unetkit.cli.main()",
    "import unetkit.cli, sys; sys.argv = ['unet', '--version']; unetkit.cli.main()",
])  # fmt: skip
def test_help_answers_at_once(code):
    """Nothing heavy is loaded: torch alone takes seconds."""
    python(f"{code}\nimport sys; there = [m for m in {HEAVY} if m in sys.modules]\n"
           "assert not there, there")  # fmt: skip


def test_nothing_is_changed_by_importing():
    """No environment variable, number of threads or random state of the user's."""
    python("""
import os, random, numpy, torch
before = dict(os.environ), torch.get_num_threads(), random.getstate()
numbers, torches = numpy.random.get_state()[1].copy(), torch.get_rng_state()
import unetkit, unetkit.demo
for name in unetkit.__all__:
    getattr(unetkit, name)
after = dict(os.environ), torch.get_num_threads(), random.getstate()
assert before[0] == after[0], set(after[0]) ^ set(before[0])
assert before[1:] == after[1:]
assert (numpy.random.get_state()[1] == numbers).all()
assert torch.equal(torch.get_rng_state(), torches)
""")
