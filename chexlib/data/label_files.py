"""Reading a label file, for every data set's reader: what is wrong with it is said in one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from chexlib.errors import UserError


def read_csv(path: Path, needed: tuple[str, ...], what: str) -> pd.DataFrame:
    """The rows of a CSV that has the columns `needed`; `what` names the file that was expected.

    Raises UserError where it is missing, not readable, without one of the columns, or empty.
    """
    try:
        rows = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the folder that holds {what}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV ({str(error).splitlines()[0]}): download it again") from None
    missing = [column for column in needed if column not in rows]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} missing: is this {what}?")
    if rows.empty:
        raise UserError(f"{path}: no rows: download it again")
    return rows
