"""What the dashboard reads and changes. Nothing here knows how it is shown."""
