"""The real thing for tests: a livekit-server, livekit-agents workers and participants, all on loopback."""
