"""`clinquant serve`: a bundle behind HTTP, for one clinic PC or Raspberry Pi and the tablets beside it."""
