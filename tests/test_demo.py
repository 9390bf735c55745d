"""What a newcomer runs first."""

import json

import numpy as np
import pytest

from unetkit.demo import run_demo
from unetkit.errors import InputError
from unetkit.image import read_image, read_labels


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    said, plans, steps = [], [], []
    shown = {"on_plan": lambda *plan: plans.append(plan), "on_step": steps.append}
    result = run_demo(tmp_path / "demo", minutes=0.1, say=said.append, **shown)
    assert [line[:3] for line in said if line[1:3] == "/5"] == [f"{k}/5" for k in range(1, 6)]
    assert len(plans) == 1
    assert steps
    assert result.problems == []
    assert result.report == tmp_path / "demo" / "run" / "report.html"
    page = result.report.read_text(encoding="utf-8")
    assert "<html" in page
    assert page.count("data:image") > 10
    on_disk = json.loads((tmp_path / "demo" / "run" / "metrics.json").read_text())
    assert result.metrics == on_disk
    assert on_disk["protocol"]["split"] == "test"
    assert on_disk["protocol"]["field_of_view"] is True
    out = tmp_path / "demo" / "predictions"
    labels, overlay, probability = sorted(result.predicted)
    assert (labels, overlay) == (out / "labels" / "large.png", out / "overlay" / "large.png")
    assert read_labels(labels).shape == (700, 900)
    assert set(np.unique(read_labels(labels))) <= {0, 255}
    assert read_image(probability).data.shape == (1, 700, 900)
    assert read_image(overlay).data.shape == (3, 700, 900)
    largest = max(read_image(p).data.shape[1:] for p in (tmp_path / "demo/data/images").iterdir())
    assert largest < (700, 900)


def test_it_does_not_touch_what_it_has_not_made(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else; choose another -o"):
        run_demo(tmp_path)
    with pytest.raises(InputError, match="minutes: 0 minutes of training; use more than 0"):
        run_demo(tmp_path / "new", minutes=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
