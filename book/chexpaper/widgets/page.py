"""What every widget shares: a state, choices, and two faces.

A widget is one ES module and its state. In JupyterLab it is an ordinary anywidget. Its `text/html`, which a page shows
instead, carries the module and the state as data; book/_assets/mount.js runs them with a small model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from chexlib.escape import NO_MATHJAX

ASSETS = Path(__file__).parent
"""Where the modules and their styles are."""


def module(name: str) -> str:
    """A widget's ES module, with what all draw with at its head."""
    return f"{(ASSETS / 'drawing.js').read_text()}\n{(ASSETS / name).read_text()}"


NO_SCRIPT = "This figure answers to the hand where JavaScript is on. The figure below it shows the same numbers."


class TwoFaced(anywidget.AnyWidget):
    """A widget whose page needs no kernel: a subclass names its module, its style and what can be chosen."""

    chosen: ClassVar[tuple[str, ...]] = ()  # traits that a reader changes
    no_script: ClassVar[str] = NO_SCRIPT
    state = traitlets.Dict().tag(sync=True)

    @property
    def choice(self) -> dict[str, Any]:
        """What is chosen now, by name."""
        return {name: getattr(self, name) for name in self.chosen}

    def _repr_mimebundle_(self, **kwargs: Any):
        """The page's face first, then anywidget's own for JupyterLab."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        page = page_html(str(self._esm), str(self._css), {"state": self.state, **self.choice}, self.no_script)
        return {"text/html": page, **data}, metadata


def page_html(module: str, css: str, state: Mapping[str, Any], no_script: str = NO_SCRIPT) -> str:
    """HTML that mount.js brings to life: an ES module, its style and its state, all as data."""
    return (
        f'<div class="chexlib-widget {NO_MATHJAX}" data-chexlib-widget>'
        f"<noscript><p>{no_script}</p></noscript>"
        f"<style>{css}</style>"
        f'<script type="application/json" data-part="state">{_as_data(state)}</script>'
        f'<script type="application/json" data-part="module">{_as_data(module)}</script></div>'
    )


def _as_data(value: Any) -> str:
    """JSON that cannot end the script element which holds it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
