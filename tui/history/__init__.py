"""Close events and operators' actions, kept: so that a restart, or the next day, loses nothing."""
