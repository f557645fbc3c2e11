"""The parent of everything that runs: web server, embedded engine, and their orderly start and end."""
