"""Reports for a browser: one file each, charts as inline SVG, no script and nothing from elsewhere."""
