"""Tables as a page shows them: their cells wrap on a narrow screen, and long ones are folded away under a title."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd


@dataclass(frozen=True)
class Tables:
    """Tables under their titles (none where that is empty); `folded`, each is hidden until its title is clicked."""

    tables: dict[str, pd.DataFrame]
    folded: bool = False

    def _repr_html_(self) -> str:
        return "\n".join(self._one(escape(title), table) for title, table in self.tables.items())

    def _one(self, title: str, table: pd.DataFrame) -> str:
        shown = table.to_html(border=0, classes="wraps")
        if self.folded:
            return f"<details><summary>{title}</summary>\n{shown}\n</details>"
        return f"<p><strong>{title}</strong></p>\n{shown}" if title else shown

    def __repr__(self) -> str:
        return "\n\n".join(f"{title}\n{table.to_string()}".lstrip() for title, table in self.tables.items())
