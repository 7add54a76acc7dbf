"""Tables: columns are declared once and shown in a terminal, Markdown, HTML, LaTeX, JSON, CSV and pictures."""
