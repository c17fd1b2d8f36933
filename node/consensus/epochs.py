"""Which heights belong to which epoch.

Height h >= 1 belongs to epoch (h - 1) // epoch_blocks, so the first epoch begins above genesis. Views restart at 1 in
each epoch; view 0 stands for the last block of the epoch before, which is already final.
"""


def epoch_of(height: int, epoch_blocks: int) -> int:
    """The epoch of block `height` (from 1)."""
    return (height - 1) // epoch_blocks


def last_height(epoch: int, epoch_blocks: int) -> int:
    """Height of the last block of `epoch`."""
    return (epoch + 1) * epoch_blocks


def is_last_of_epoch(height: int, epoch_blocks: int) -> bool:
    """Whether block `height` (from 1) ends its epoch, and so names the next authority set."""
    return height > 0 and height % epoch_blocks == 0
