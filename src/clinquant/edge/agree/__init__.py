"""`clinquant agree`: the same images through the same file on other processors and runtimes, compared byte by byte."""
