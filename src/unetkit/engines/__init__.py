"""What computes a network: PyTorch, OpenVINO or ONNX Runtime, each fed with the same program."""

from unetkit.engines.choice import ENGINES, PRECISIONS, Engine, choose_engine
from unetkit.engines.program import Program, Run, Step, fold

__all__ = ["ENGINES", "PRECISIONS", "Engine", "Program", "Run", "Step", "choose_engine", "fold"]
