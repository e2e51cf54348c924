"""Sign language translation with sentence embedding supervision, as a data and training pipeline.

Which module serves what; the first line of each says what it does::

    corpus         corpora/ demo/ annotation manifest media
    frames         frames video images
    features       features frame_decoding backbone folding precomputed feature_set
    targets        targets teacher tsdae sem_space
    wikipedia      wikipedia wikipedia_source wikitext
    training       sign2sem sem2text finetune models/ training batching losses clips tokenizer trimming gloss ctc
                   model_folder weights; on a GPU: recorded; several processes: launch ranks
    evaluation     decoding conditions evaluations scoring metrics bleurt wer bootstrap diagnostics sem_metrics
                   sem_alignment
    tables         tables reports plots agreement; the paper's: paper_tables paper_reports paper_run published
    experiments    experiments experiments_axes experiments_content experiments_report experiments_run
                   experiments_sem_map experiments_text experiments_transfer experiments_unseen
    slt command    cli translate score_files new_corpus verify
    every stage    stage config/ paths store arrays pickles unpacking workers cluster lifecycle resources run_log errors

A name that ends in capitals says its axes: ``features_BTF`` is batch x time x features. B batch, C channels, D width, F
features, G glosses, H height, L tokens, M memory, S SEM, T frames, V vocabulary, W width of an image.
"""

import ctypes
import os
import platform

PARENT = os.getppid()
"""who started this process; taken here, since a parent killed while torch is being imported must not go unnoticed"""

# Must stand before torch loads OpenMP. Threads that spin at a barrier wait for a core that a shared machine has given
# to somebody else; threads that sleep at once pay for waking up at every operation. A training step of the demo on two
# cores, in seconds, alone and beside two busy processes: sleeping 0.21 and 0.27, spinning 3,000 times and then sleeping
# 0.17 and 0.29, 10,000 times 0.16 and 0.42. The count is libgomp's, the policy what other OpenMP libraries read.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Large tensors from the heap instead of fresh pages for each: glibc's malloc gives every big block back to the system,
# and taking it again costs a page fault per 4 KiB. Same machine: the backbone 157 → 240 frames/s, a training step
# 0.53 → 0.32 s. The numbers are those of M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX in malloc.h.
if platform.libc_ver()[0] == "glibc":
    for option, value in ((-1, 2**31 - 1), (-2, 2**26), (-4, 0)):
        ctypes.CDLL(None).mallopt(option, value)
