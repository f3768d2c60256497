"""plots: small hand-written SVG, coloured by the page's style sheet, so that it follows light, dark and print."""
