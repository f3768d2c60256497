"""edge: what a device needs: bundles, runtimes, answers, a server and the tablet app. Never torch."""

import os

# ONNX Runtime would keep a device id in the user's home and report its use; images of patients are looked at here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
