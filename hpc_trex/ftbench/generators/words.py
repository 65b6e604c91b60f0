"""The small vocabulary that all families share, so that a tokenizer of 800 entries has one token a word."""

from __future__ import annotations

NAMES = ("anna", "ben", "carl", "dora", "emil", "finn", "gina", "hugo")
CITIES = ("oslo", "rome", "bern", "lima", "cairo", "tokyo", "paris", "delhi")
ITEMS = ("lamp", "desk", "chair", "book", "phone", "cable", "mug", "pen")
COLOURS = ("red", "blue", "green", "black", "white")
SIZES = ("small", "big", "old", "new")
