"""The only code that changes anything on a server: plan, confirm (the screen's part), re-check, execute, verify."""
