"""Runs: one training under one frozen specification, and the folder that keeps what came of it."""
