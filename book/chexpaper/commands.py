"""The command line's verbs that are the book's: `book`, `notebooks` and `claims` (entry point `chexlib.commands`)."""
