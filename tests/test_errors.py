"""What a message shows of the user's own: one line, nothing that a terminal obeys, and no more than can be read."""

from hypothesis import given
from hypothesis import strategies as st

from chexlib.errors import LONGEST, UserError, one_line, quoted


def test_a_terminal_obeys_nothing_of_a_message():
    assert str(UserError("a\x1b[31m b\u202ec\nd")) == "a\\x1b[31m b\\u202ec d"
    assert quoted("a\tb\n") == "'a\\tb\\n'"


@given(st.text())
def test_a_message_is_one_printable_line(text):
    assert one_line(text).isprintable() and one_line(one_line(text)) == one_line(text)


def test_a_short_message_is_as_it_was_written_and_a_long_one_keeps_both_ends():
    short = "labels.csv: column 'Edma': did  you mean Edema?"
    assert one_line(short) == short
    message = str(UserError(f"labels.csv: patient {'x' * 10**7} is in 2 splits"))
    assert len(message) < 5 * LONGEST and message.startswith("labels.csv: ") and message.endswith("is in 2 splits")


def test_of_a_long_value_its_beginning_is_shown_and_its_length():
    assert quoted("x" * LONGEST) == f"'{'x' * LONGEST}'"
    assert quoted("x" * 10**7) == f"'{'x' * LONGEST}'... (10,000,000 characters)"
