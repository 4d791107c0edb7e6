"""How the search is compiled."""

from typing import Any

import numba

# numba counts references of an array at each use that it cannot see through, and an atomic count takes longer
# than what the search does between two. A function that allocates nothing needs none: it only borrows the
# arrays of its caller. numba's own functions say so in the same way.
_njit: Any = numba.njit
borrowing = _njit(cache=True, _nrt=False)
# The same where a product may be added without being rounded before.
borrowing_fused = _njit(cache=True, _nrt=False, fastmath={"contract"})
