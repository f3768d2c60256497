"""Training steps of quantized networks at the price of float ones: small C++ kernels, compiled on the user's machine where it can."""
