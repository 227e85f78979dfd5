"""Lists of the Gaussians that each block of a tile walks, one list of a batch's entries for each block."""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.layout import BATCH, BLOCKS
from gaussian_splatting.rasterizer.cpu.simd import Array, Bits, lowest_bit
from gaussian_splatting.rasterizer.cpu.simd_memory import read, write
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper

# Scratch of one worker, integers: the blocks that each entry contributed to, the length of each block's list.
MASKS, LENGTHS = 0, BATCH
COUNT_SCRATCH = LENGTHS + BLOCKS
LIST_SCRATCH = BLOCKS * BATCH


@helper
def append_to_lists(bits: Bits, entry: int, counts: Array, queues: Array) -> None:
    """Append an entry of the batch to the lists of the blocks whose bits are set."""
    while bits != 0:
        block = lowest_bit(bits)
        bits &= bits - 1
        length = read(counts, LENGTHS + block)
        write(queues, block * BATCH + length, entry)
        write(counts, LENGTHS + block, length + 1)
