"""What the Python reference does to docstrings: words with angle brackets are code, and no tags of HTML."""

import re
from typing import Any

import griffe

WORD = re.compile(r"(?<![`\w/<])[\w/]*<\w[^>`\s]*>[\w<>]*")
"""A word such as runs/<name> or fixed<12,4> that stands outside of code."""


class AnglesAreCode(griffe.Extension):
    """Write such words as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = WORD.sub(r"`\g<0>`", obj.docstring.value)
