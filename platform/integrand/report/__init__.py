"""A comparison as one self-contained HTML page. Stands above `comparison`; imports no torch."""
