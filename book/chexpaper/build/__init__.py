"""From notebooks to pages: Papermill executes what has changed, Jupyter Book renders it."""
