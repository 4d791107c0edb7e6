"""One folder a corpus: prepare.py makes manifests, recipe.yaml says how to train, README.md what came out."""
