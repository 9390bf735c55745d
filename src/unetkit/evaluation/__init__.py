"""Scores that can be defended: each travels with the protocol it was measured under."""

from unetkit.evaluation.evaluate import Segment, evaluate
from unetkit.evaluation.judge import Answer
from unetkit.evaluation.score import score
from unetkit.evaluation.summary import Scores, read_metrics

__all__ = ["Answer", "Scores", "Segment", "evaluate", "read_metrics", "score"]
