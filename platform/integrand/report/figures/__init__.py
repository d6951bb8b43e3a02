"""The page's figures as SVG: drawn here, so that they are there without scripts and in print."""
