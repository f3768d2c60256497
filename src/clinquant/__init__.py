"""clinquant: small integer medical image classifiers, with the evidence that nothing diagnostic was lost."""

__version__ = "0.1.0"
