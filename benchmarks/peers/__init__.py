"""Other toolkits' quantization of the same trained networks, each on its own runtime, beside ours: one table.

    python -m benchmarks.peers --runs runs --work work --out benchmarks/results/peers.csv

Run from the repository's root in an environment with every toolkit (`benchmarks/peers/requirements.txt`).
"""
