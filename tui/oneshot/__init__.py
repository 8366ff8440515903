"""The commands without the dashboard: read rooms or closes, or act, once, print it as text or JSON, and exit."""
