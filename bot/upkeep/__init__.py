"""What keeps the house in order: purging, retention, backups, the journal, alerts."""
