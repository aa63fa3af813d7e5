"""The Azure ML, Kubeflow and docker entry: named inputs → updated spec → engine."""
