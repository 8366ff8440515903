"""Measures lk-tui as the person on call feels it: `make bench`, or `python -m bench`.

Everything runs on this machine: a server with up to 10,000 rooms in a process of its own, the real program in a real
pseudo-terminal, and beside it, in the same run, what one would have without it: a naive poller, a DataTable.
"""
