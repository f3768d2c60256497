"""trace: from a torch module to a `Network`, by torch.fx or else by torch.export."""
