"""lk-tui: a terminal dashboard for supervising live LiveKit rooms."""

__version__ = "0.1.0"
