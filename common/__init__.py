"""What sound and ink share: alphabet, corpus, network, training, decoding. Imports neither asr nor hwr."""

__version__ = "0.1.0"
