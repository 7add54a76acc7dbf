"""Tables: columns are declared once and shown in a terminal, Markdown, JSON, CSV and pictures."""
