"""What the compiled kernels take, as named tuples of flat arrays, which numba hands on for nothing.

Units are padded to a multiple of 16. R takes a row of `width`: h, and where gates recur [h, i, f, o].
"calls" stands for as many parts as the kernel is called for one layer. What a cell may lack (projection,
mask, fading, normals) is an argument of its own, as numba leaves out code only where an argument is None.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any  # an array for numba; a tensor until `sequence` hands its memory over


class Share(NamedTuple):
    """The rows of one direction that a call computes, and where their frames stand."""

    frame_of: Array  # (directions, frames) the packed frame of each direction's frames in its own order
    counts: Array  # (steps,) rows that run at each step, falling
    direction: int
    directions: int
    first: int  # the call computes the rows first, first + stride, …
    stride: int


class Parameters(NamedTuple):
    """The weights of a cell, with the directions in front; float32."""

    recurrent: Array  # R, (gates, units, width); for the normalised forward steps (width, gates * units)
    bias: Array  # (gates, units); None where z has it already
    own: Array  # (3, units) peepholes of i, f, o, or b_hn first; normalised (6, units): gains of the four
    # gates' products, gain and bias of the cell state


class Tape(NamedTuple):
    """What the forward steps write for the steps back; empty but for gates and outputs if nothing is kept."""

    gates: Array  # (frames, directions, gates, units) W x, and afterwards the activations if kept
    cells: Array  # (frames, directions, units) float32: c; of a GRU R_n h + b_hn
    unprojected: Array  # (frames, directions, units) h before the projection; None without one
    outputs: Array  # (frames, directions, size of h)


class State(NamedTuple):
    """h and c between two steps, with the directions in front; before the first step and after the last."""

    h: Array  # (2, rows, width) the step before and this one; a row of n frames ends in half n % 2
    c: Array  # (rows, units) float32


class Start(NamedTuple):
    """The state before the first step, with the directions in front."""

    h: Array  # (rows, width)
    c: Array  # (rows, units)


class Gradients(NamedTuple):
    """What the steps back read and write."""

    outputs: Array  # like Tape.outputs; with a projection also written, with what comes from the next step
    z: Array  # like Tape.gates
    product: Array  # by R h, like z, and the same memory where it is the same
    previous: Array  # (frames, directions, width) no gradient, but what R has taken
    h: Array  # (directions, strides, width / 64, rows of a call, 64) float32: last states in, first ones out
    c: Array  # (directions, rows, units) float32, like h
    bias: Array  # (calls, gates, units) float32, from zeros; the normalised cell leaves it
    own: Array  # (calls, 3 or 6, units) float32, from zeros


class Fading(NamedTuple):
    """The time-aware cell's short-term part of the cell state, forward."""

    decay: Array  # (directions, units, units) W_d transposed
    bias: Array  # (directions, units) b_d
    lost: Array  # (directions, frames) the share of it that is lost before a frame, in the direction's order
    shorts: Array  # (frames, directions, units) that part, written if kept


class FadingBack(NamedTuple):
    """The same for the steps back."""

    decay: Array  # (directions, units, units) W_d
    lost: Array
    shorts: Array
    d_shorts: Array  # written: the gradient by what comes to its tanh, like shorts
    faded: Array  # written: the cell state that it has come from, like shorts


class Normals(NamedTuple):
    """What layer normalisation needs beside."""

    products: Array  # (frames, directions, gates, units) the normalised R h
    scales: Array  # (frames, directions) 1 / its standard deviation
    hidden: int  # how many of the units there are
