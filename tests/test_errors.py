"""A user's mistake is one line: what, where, the cure."""

from pathlib import Path

import pytest

from unetkit.errors import InputError, nearest


@pytest.mark.parametrize(("arguments", "line"), [
    ((("too dark"), None, ""), "too dark"),
    (("too dark", Path("a b.png"), ""), "a b.png: too dark"),
    (("too dark", "a.png", "light it"), "a.png: too dark; light it"),
    (("two\nlines\tand   gaps", None, "one\nline"), "two lines and gaps; one line"),
])  # fmt: skip
def test_it_is_one_line(arguments, line):
    what, where, cure = arguments
    error = InputError(what, where=where, cure=cure)
    assert str(error) == line
    assert (error.what, error.where, error.cure) == arguments
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(("word", "said"), [
    ("dpeth", "did you mean depth?"),
    ("Width", "did you mean width?"),
    ("frob", "known are depth, width"),
    ("", "known are depth, width"),
])  # fmt: skip
def test_the_nearest_word_or_all(word, said):
    assert nearest(word, (name for name in ("depth", "width"))) == said


def test_what_a_terminal_would_obey_is_shown_instead():
    line = str(InputError("is\nodd", where="a\x1b[31m\x07\x9b.png", cure="größer × 2"))
    assert line == r"a\x1b[31m\x07\x9b.png: is odd; größer × 2"
