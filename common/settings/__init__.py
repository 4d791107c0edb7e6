"""Every setting of a training, once: conf/ and recipes choose among these and say what differs from them."""
