"""core: the arithmetic, the networks as data and the artifacts that every other room reads. Needs numpy alone."""
