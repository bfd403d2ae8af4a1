"""The one exception that a user can cause: the command line prints its single line and exits with code 2."""


class UserError(ValueError):
    """Something in the user's input is wrong; the message says what, where, and what to do, on one line."""
