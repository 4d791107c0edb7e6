"""LSTM layers over more than time: convolutional over sequences of images, multidimensional over images.

Both are exact on padded batches: a sequence (or an image) gives what it gives alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from carousel.common.errors import InputError
from carousel.common.lstm.torch_path.fused import Steps, is_empty

CORNERS = ((False, False), (False, True), (True, False), (True, True))  # flipped rows, flipped columns


class ConvLSTM(nn.Module):
    """Peephole ConvLSTM over sequences of images (Shi et al. 2015, Convolutional LSTM Network, equation 3).

    The peephole LSTM whose products with W and R are convolutions, so that a place sees its neighbourhood:
        i = σ(W_i ∗ x + R_i ∗ h + p_i ∘ c + b_i)      f = σ(W_f ∗ x + R_f ∗ h + p_f ∘ c + b_f)
        c' = f ∘ c + i ∘ tanh(W_g ∗ x + R_g ∗ h + b_g)  o = σ(W_o ∗ x + R_o ∗ h + p_o ∘ c' + b_o)
        h' = o ∘ tanh(c')

    kernel: odd, of all convolutions, [over rows, over columns] or one number for both; images are padded with
    zeros by half of it, so they keep their size.
    size: (height, width). With it each place has peephole weights of its own, which is what the paper's
    Hadamard product says, and only images of this size can be read. Without it (the default) the places of a
    channel share their peephole weights, as they share all others, and images may be of any size.
    bidirectional: a second pass backwards in time, from each sequence's own last frame.

    Raises InputError for an even kernel.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        kernel: int | Sequence[int] = 3,
        size: tuple[int, int] | None = None,
        bidirectional: bool = False,
    ):
        super().__init__()
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        if rows % 2 == 0 or columns % 2 == 0:
            raise InputError(f"a ConvLSTM's kernel of {rows} × {columns} is even; give odd sizes")
        self.hidden, self.size, self.directions = hidden, size, 2 if bidirectional else 1
        self.padding = (rows // 2, columns // 2)
        self.outputs = self.directions * hidden
        d = self.directions
        self.inputs = nn.Parameter(torch.empty(d, 4 * hidden, inputs, rows, columns))
        self.recurrent = nn.Parameter(torch.empty(d, 4 * hidden, hidden, rows, columns))
        self.bias = nn.Parameter(torch.zeros(d, 4 * hidden))
        self.peephole = nn.Parameter(torch.zeros(d, 3, hidden, *(size or (1, 1))))  # of i, f, o
        self.reset()

    def reset(self) -> None:
        """Glorot for each gate's kernels, forget bias 1, no peepholes."""
        for weights in (self.inputs, self.recurrent):
            for gate in weights.data.flatten(0, 1).split(self.hidden):
                nn.init.xavier_uniform_(gate)
        with torch.no_grad():
            self.bias.zero_()[:, self.hidden : 2 * self.hidden] = 1.0
            self.peephole.zero_()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (batch, frames, inputs, height, width); lengths: (batch,) integers ≥ 0 on any device.

        Returns (batch, frames, outputs, height, width), zero past each sequence's length. No image of the
        padding is computed. Raises InputError for images that are not of `size`, ValueError for lengths that
        do not fit x.
        """
        batch, frames, _, *size = x.shape
        if self.size and tuple(size) != tuple(self.size):
            raise InputError(
                f"a ConvLSTM with peepholes for {self.size[0]} × {self.size[1]} places was given images of "
                f"{size[0]} × {size[1]}"
            )
        if is_empty(x, lengths):
            return x.new_zeros(batch, frames, self.outputs, *size)
        steps = Steps.of(lengths).to(x.device)
        longest, gates = len(steps.counts), 4 * self.hidden
        packed = x[:, :longest].flatten(0, 1)[steps.gather]  # (images, inputs, height, width)
        projected = conv2d(packed, self.inputs.flatten(0, 1), self.bias.flatten(), padding=self.padding)
        projected = self._turned(projected.unflatten(1, (self.directions, gates)), steps)
        h = self._turned(self._run(projected, steps.counts), steps).flatten(1, 2)
        rows = h.new_zeros(batch * longest, *h.shape[1:]).index_copy(0, steps.gather, h)
        return pad(rows.unflatten(0, (batch, longest)), (0, 0) * 3 + (0, frames - longest))

    def _turned(self, packed: Tensor, steps: Steps) -> Tensor:
        """(images, directions, …) with the second direction's time reversed within each sequence."""
        if self.directions == 1:
            return packed
        return torch.stack((packed[:, 0], packed[steps.mirror, 1]), dim=1)

    def _run(self, projected: Tensor, counts: list[int]) -> Tensor:
        """projected: (images, directions, 4 hidden, height, width). Returns h, with `hidden` for 4 hidden."""
        recurrent = self.recurrent.flatten(0, 1)
        p_i, p_f, p_o = self.peephole.unbind(1)  # (directions, hidden, height or 1, width or 1)
        first = projected[: counts[0], :, : self.hidden]
        c = torch.zeros_like(first, dtype=self.peephole.dtype)  # never in bf16
        outputs: list[Tensor] = []
        for here in projected.split(counts):
            if outputs:
                before = outputs[-1][: len(here)].flatten(1, 2)
                product = conv2d(before, recurrent, padding=self.padding, groups=self.directions)
                here = here + product.view_as(here)
                c = c[: len(here)]
            z_i, z_f, z_g, z_o = here.chunk(4, dim=2)
            i, f = torch.sigmoid(z_i + p_i * c), torch.sigmoid(z_f + p_f * c)
            c = f * c + i * torch.tanh(z_g)
            outputs.append(torch.sigmoid(z_o + p_o * c) * torch.tanh(c))
        return torch.cat(outputs)


class MDLSTM(nn.Module):
    """Multidimensional LSTM over images, scanned from all four corners (Graves & Schmidhuber 2009, Offline
    Handwriting Recognition with Multidimensional Recurrent Neural Networks; Graves 2012, Supervised Sequence
    Labelling, chapter 8).

    A place sees the places above and to its left (as seen from the corner where the scan begins): h₁, c₁ and
    h₂, c₂. There is a forget gate for each of the two, which looks only at its own cell:
        i  = σ(W_i x + R_i1 h₁ + R_i2 h₂ + p_i1 c₁ + p_i2 c₂ + b_i)
        f₁ = σ(W_1 x + R_11 h₁ + R_12 h₂ + p_1 c₁ + b_1)     f₂ = σ(W_2 x + R_21 h₁ + R_22 h₂ + p_2 c₂ + b_2)
        c  = f₁ c₁ + f₂ c₂ + i tanh(W_g x + R_g1 h₁ + R_g2 h₂ + b_g)
        o  = σ(W_o x + R_o1 h₁ + R_o2 h₂ + p_o c + b_o)      h = o tanh(c)

    Places on one anti-diagonal do not see each other, so each diagonal is one step: one product for all its
    places, all images and all four corners; an image takes height + width − 1 steps.

    Weights stand in the order i, f₁, f₂, g, o, peepholes in the order p_i1, p_i2, p_1, p_2, p_o, and corners
    as in CORNERS.
    """

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.hidden, self.outputs = hidden, 4 * hidden
        self.inputs = nn.Parameter(torch.empty(4, 5 * hidden, inputs))
        self.recurrent = nn.Parameter(torch.empty(4, 5 * hidden, 2 * hidden))  # of h₁, then of h₂
        self.bias = nn.Parameter(torch.zeros(4, 5 * hidden))
        self.peephole = nn.Parameter(torch.zeros(4, 5, hidden))
        self.reset()

    def reset(self) -> None:
        """Glorot for each gate, no peepholes, and no forget bias.

        Forget gates of ½ each keep the sum of the two cells: with the usual bias of 1 a constant input would
        grow exponentially along the diagonals.
        """
        for weights in (self.inputs, self.recurrent):
            for gate in weights.data.flatten(0, 1).split(self.hidden):
                nn.init.xavier_uniform_(gate)
        with torch.no_grad():
            self.bias.zero_()
            self.peephole.zero_()

    def forward(self, x: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
        """x: (batch, inputs, height, width); heights, widths: (batch,) integers ≥ 0, each image's true size.

        Returns (batch, 4 hidden, height, width), the corners one after another, zero past an image's size.
        """
        batch, _, height, width = x.shape
        outside = ~(_within(heights, height)[:, :, None] & _within(widths, width)[:, None]).to(x.device)
        if outside.all():
            return x.new_zeros(batch, self.outputs, height, width)
        there, back = (index.to(x.device) for index in _orders(heights, widths, height, width))
        places = x.masked_fill(outside[:, None], 0).movedim(1, -1).flatten(0, 2)  # (places, inputs)
        weights = self.inputs.transpose(1, 2)  # (4, inputs, 5 hidden)
        projected = torch.matmul(places, weights) + self.bias[:, None]
        packed = torch.stack([p[index] for p, index in zip(projected, there, strict=True)])
        h = self._run(packed.unflatten(1, (-1, batch)), height, width)  # (4, diagonal order, batch, hidden)
        h = torch.stack([p[index] for p, index in zip(h.flatten(1, 2), back, strict=True)])
        h = h.unflatten(1, (batch, height, width)).masked_fill(outside[..., None], 0)
        return h.permute(1, 0, 4, 2, 3).flatten(1, 2)

    def _run(self, projected: Tensor, height: int, width: int) -> Tensor:
        """projected: (4, places by diagonals, batch, 5 hidden). Returns h, with `hidden` for 5 hidden.

        From diagonal to diagonal the state has one entry for each row that the diagonal crosses. The place to
        the left is in the same row one diagonal before, the place above in the row before.
        """
        recurrent = self.recurrent.transpose(1, 2)  # (4, 2 hidden, 5 hidden)
        p_i1, p_i2, p_1, p_2, p_o = self.peephole[:, :, None, None].unbind(1)  # (4, 1, 1, hidden) each
        crossed = _crossed(height, width)
        h = c = projected.new_zeros(4, 0, projected.shape[2], self.hidden, dtype=self.peephole.dtype)
        top = 0  # the first row of h and c
        outputs = []
        for z, rows in zip(projected.split([len(r) for r in crossed], 1), crossed, strict=True):
            # a row of zeros above and below: what a place at the edge of the image sees
            above = slice(rows.start - top, rows.stop - top)
            left = slice(above.start + 1, above.stop + 1)
            h, c = pad(h, (0, 0, 0, 0, 1, 1)), pad(c, (0, 0, 0, 0, 1, 1))
            c_1, c_2 = c[:, above], c[:, left]
            seen = torch.cat((h[:, above], h[:, left]), dim=-1)
            z = z + torch.bmm(seen.flatten(1, 2), recurrent).view_as(z)
            z_i, z_1, z_2, z_g, z_o = z.chunk(5, dim=-1)
            i = torch.sigmoid(z_i + p_i1 * c_1 + p_i2 * c_2)
            f_1, f_2 = torch.sigmoid(z_1 + p_1 * c_1), torch.sigmoid(z_2 + p_2 * c_2)
            c = f_1 * c_1 + f_2 * c_2 + i * torch.tanh(z_g)
            h = torch.sigmoid(z_o + p_o * c) * torch.tanh(c)
            outputs.append(h)
            top = rows.start
        return torch.cat(outputs, dim=1)


def _crossed(height: int, width: int) -> list[range]:
    """The rows that each anti-diagonal of an image crosses, from the upper left corner on."""
    return [range(max(0, t - width + 1), min(height, t + 1)) for t in range(height + width - 1)]


def _within(sizes: Tensor, longest: int) -> Tensor:
    """(batch, longest): whether a row or column belongs to the image."""
    return torch.arange(longest, device=sizes.device) < sizes[:, None]


def _orders(heights: Tensor, widths: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """For each corner the order in which places are visited, and its inverse.

    Returns (4, height · width · batch): the place in (batch, height, width) that stands at (diagonal order,
    batch) when each image is turned, within its true size, so that the corner is the upper left one; and
    (4, batch · height · width), the way back.
    """
    batch = len(heights)
    visits = [(r, t - r) for t, rows in enumerate(_crossed(height, width)) for r in rows]
    row, column = torch.tensor(visits).T
    position = torch.empty(height, width, dtype=torch.long)  # in diagonal order
    position[row, column] = torch.arange(height * width)
    image = torch.arange(batch)
    there, back = [], []
    for flip_rows, flip_columns in CORNERS:
        rows = _numbers(heights.cpu(), height, flip_rows)
        columns = _numbers(widths.cpu(), width, flip_columns)
        there.append(((image * height + rows[row]) * width + columns[column]).flatten())
        places = position[rows.T[:, :, None], columns.T[:, None, :]]  # (batch, height, width)
        back.append((places * batch + image[:, None, None]).flatten())
    return torch.stack(there), torch.stack(back)


def _numbers(sizes: Tensor, longest: int, flip: bool) -> Tensor:
    """(longest, batch): each row or column's own number, or counted from the end within the true size."""
    number = torch.arange(longest)[:, None].expand(longest, len(sizes))
    return torch.where(number < sizes, sizes - 1 - number, number) if flip else number
