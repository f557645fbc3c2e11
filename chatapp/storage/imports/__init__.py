"""Data files that were not left as the server wrote them: edited, rewritten by a program, or of a simpler layout."""
