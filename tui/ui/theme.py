"""The colours: calm when all is calm, one accent for each meaning, readable on black and over SSH."""

from __future__ import annotations

from textual.theme import Theme

THEME = Theme(
    name="lk-tui",
    primary="#5aa9e6",
    secondary="#b79ced",
    accent="#4fd1c5",
    foreground="#d8dee6",
    background="#10141a",
    surface="#151b23",
    panel="#1d2530",
    success="#7bc47f",
    warning="#f0b429",
    error="#ff6b6b",
    dark=True,
    variables={
        "text-muted": "#8a97a6",
        "text-error": "#ff8a8a",
        "text-warning": "#f2c14e",
        "text-success": "#8fd694",
        "text-secondary": "#c3adf2",
        "text-accent": "#6fe0d5",
        "text-primary": "#7cc0f5",
        "border-blurred": "#2f3b4a",
    },
)
"""Error, warning and success also differ in lightness, for eyes that can't tell red from green."""
