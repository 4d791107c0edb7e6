"""Enforced subpopulations: each unit of a network is bred among its own kind, and is as good as the networks
that it was part of.

Gomez & Miikkulainen 1997, Incremental Evolution of Complex General Behavior.
"""

import torch
from torch import Tensor

PARENTS = 4  # the best of so many genomes have offspring
TAIL = 100.0  # scales of the Cauchy noise beyond which it is cut


def drawn(kinds: int, size: int, rng: torch.Generator) -> Tensor:
    """Which genome of each subpopulation is in which network, (kinds, size): each genome in one."""
    return torch.stack([torch.randperm(size, generator=rng) for _ in range(kinds)])


def breed(genomes: Tensor, fitness: Tensor, scale: float, rng: torch.Generator) -> Tensor:
    """The next generation, best first. genomes: (kinds, size, genes); fitness: (kinds, size).

    Each of the best quarter is crossed at one point with one of those that are not worse; their offspring,
    two of each couple, with Cauchy noise of this scale, take the place of the worse half.
    """
    kinds, size, genes = genomes.shape
    order = fitness.argsort(dim=1, descending=True)
    ranked = genomes.gather(1, order[..., None].expand_as(genomes))
    couples = max(size // PARENTS, 1)
    ranks = torch.arange(couples)
    partner = (torch.rand(kinds, couples, generator=rng) * (ranks + 1)).long()
    one = ranked[:, :couples]
    two = ranked.gather(1, partner[..., None].expand(-1, -1, genes))
    first = torch.arange(genes) < torch.randint(1, genes, (kinds, couples, 1), generator=rng)
    young = torch.cat((torch.where(first, one, two), torch.where(first, two, one)), dim=1)
    young = young + cauchy(young, scale, rng)
    return torch.cat((ranked[:, : size - young.shape[1]], young), dim=1)


def burst(best: Tensor, size: int, scale: float, rng: torch.Generator) -> Tensor:
    """Subpopulations around the units of one network, (kinds, genes), which is among them."""
    around = best[:, None].repeat(1, size, 1)
    around[:, 1:] += cauchy(around[:, 1:], scale, rng)
    return around


def cauchy(like: Tensor, scale: float, rng: torch.Generator) -> Tensor:
    """Noise, cut at `TAIL` scales."""
    noise = torch.empty_like(like).cauchy_(0, 1, generator=rng)
    return scale * noise.clamp(-TAIL, TAIL)
