"""Studies: many networks on the same images, one row of a table each."""
