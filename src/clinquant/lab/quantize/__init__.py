"""quantize: from a float network to the integer program, by passes after training or by training."""
