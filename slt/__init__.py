"""Sign language translation with sentence embedding supervision, as a data and training pipeline."""

import os

# Must stand before torch loads OpenMP. Threads that spin at a barrier wait for a core that a shared machine has given
# to somebody else: on a busy two-core machine a backbone ran at 20 frames/s spinning and at 157 sleeping.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
