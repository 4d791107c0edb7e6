"""The RNN transducer beside CTC (Graves 2012): `python -m carousel.recipes.transducer`."""
