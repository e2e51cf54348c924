"""The teacher: a sentence-transformers model whose sentence embeddings are what the sign encoder learns to predict."""

import functools
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from slt import cluster
from slt.arrays import DiskMatrix
from slt.config.data import TeacherConfig
from slt.errors import ConfigError, DataError
from slt.stage import device_name, progress
from slt.store import read_json
from slt.weights import resolve_weights, weights_sha256

BATCH = 64
"""sentences per forward pass; fixed, because padding and so the last bits of a vector depend on it"""
COUNTED = 1000
"""sentences whose tokens are counted at a time: of each the tokenizer makes an object of some kilobytes"""
UNIT = 16
"""batches that a worker of a cluster is given at a time"""

OWN_MODULES = "sentence_transformers."
log = logging.getLogger("slt.teacher")


@dataclass
class Teacher:
    """A loaded teacher; ``encode`` gives its vectors as the model's own modules make them."""

    model: Any
    """sentence_transformers.SentenceTransformer, in float32"""
    size: int
    prompt: str | None
    """text put before each sentence; None: the model's own default"""
    spec: str
    """where the weights came from, as in params.yaml"""
    sha256: str
    """of the weights"""
    config: TeacherConfig
    where: str
    """with it, what :meth:`load` was given: workers of a cluster load the same"""
    truncated: int = 0
    """sentences so far that the model's max_seq_length cut, each unique one of a call once"""

    @classmethod
    def load(cls, config: TeacherConfig, where: str) -> "Teacher":
        """Load the model a section names, in float32 whatever its file holds; ``where`` is the section's key.

        Raises ConfigError when the folder is no sentence-transformers model or its embedding size is not
        ``config.size``, DataError when the weights are not there or cannot be read.
        """
        path = resolve_weights(config.model)
        if not (path / "modules.json").is_file():
            # sentence-transformers would put mean pooling on any transformer and only warn
            raise ConfigError(
                f"{where}.model: `{config.model}` ({path}) has no modules.json, so it is no sentence-transformers "
                "model; name one that is, or save yours with SentenceTransformer.save_pretrained"
            )
        _check_modules(path, f"{where}.model: `{config.model}` ({path})")
        log.info("loading the teacher %s", config.model)
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of loading weights: a fraction of a second, drawn even where there is no terminal
        try:
            model = SentenceTransformer(
                str(path),
                device="cpu" if cluster.address() else device_name(),  # workers compute
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.float32, "weights_only": True},
            )
        except Exception as error:  # each module of the folder reads its files its own way
            raise DataError(
                f"{where}.model: `{config.model}` ({path}) cannot be loaded: {type(error).__name__}: {error}; "
                "fetch the model again, or name another"
            ) from error
        model = model.float().eval()
        size = model.get_embedding_dimension()
        if size is None:  # a model that does not say; ask it
            size = int(model.encode(["."], show_progress_bar=False).shape[-1])
        if size != config.size:
            raise ConfigError(
                f"{where}.size: {config.size}, but `{config.model}` gives embeddings of size {size}; "
                f"set `size: {size}`, or name a model of size {config.size}"
            )
        return cls(model, size, config.prompt, config.model, weights_sha256(path), config, where)

    @property
    def effective_prompt(self) -> str:
        """The text that really stands before each sentence: the parameter, else the model's own default, else none."""
        if self.prompt is not None:
            return self.prompt
        return (self.model.prompts or {}).get(self.model.default_prompt_name) or ""

    def encode(self, sentences: Sequence[str], what: str = "embedding sentences") -> np.ndarray:
        """Raw embeddings (n, size) float32 of sentences in the order given; each unique one is computed once.

        Batches have a fixed size and are filled by falling length, so that a vector depends neither on where in
        the list a sentence stands nor on how often. Raises DataError when a vector is not finite.
        """
        unique = sorted(set(sentences))
        vectors = np.empty((len(unique), self.size), dtype=np.float32)
        self.embed(unique, vectors, what)
        row = {sentence: i for i, sentence in enumerate(unique)}
        return vectors[[row[sentence] for sentence in sentences]]

    def embed(self, unique: Sequence[str], vectors: np.ndarray | DiskMatrix, what: str) -> None:
        """The same of different sentences in alphabetical order, each into its row of ``vectors``."""
        order = np.argsort(-self._lengths(unique), kind="stable")  # equal lengths stay alphabetical
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        texts = ([unique[int(i)] for i in batch] for batch in batches)
        made = self._on_cluster(list(texts)) if cluster.address() else map(self._forward, texts)
        bad: list[int] = []
        for batch, rows in zip(batches, progress(made, what, len(batches), "batch"), strict=True):
            vectors[batch] = rows
            bad += batch[~np.isfinite(rows).all(axis=1)].tolist()
        if bad:
            raise DataError(
                f"teacher `{self.spec}`: {len(bad)} of {len(unique)} embeddings are not finite, the first of "
                f"{unique[min(bad)]!r}; try SLT_DEVICE=cpu, or another teacher"
            )

    def _forward(self, batch: list[str]) -> np.ndarray:
        """Vectors (n, size) of at most ``BATCH`` sentences."""
        return self.model.encode(
            batch,
            prompt=self.effective_prompt,
            batch_size=BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=False,
        )

    def _on_cluster(self, batches: list[list[str]]) -> Iterator[np.ndarray]:
        """Vectors of each batch, computed by workers that load the teacher once and have this process' threads."""
        import torch

        threads = torch.get_num_threads()
        units = [batches[start : start + UNIT] for start in range(0, len(batches), UNIT)]
        embed = functools.partial(_embed_unit, config=self.config, where=self.where, threads=threads)
        made = cluster.cluster_map(embed, units, *cluster.computing(threads), stay=True)
        return itertools.chain.from_iterable(made)

    def _lengths(self, sentences: Sequence[str]) -> np.ndarray:
        """Tokens per sentence before any cut, and adds those over the limit to ``truncated``."""
        tokenizer: Any = getattr(self.model[0], "tokenizer", None)
        limit = self.model.max_seq_length
        if not hasattr(tokenizer, "model_max_length"):  # no transformers tokenizer: static models cut nothing
            return np.array([len(sentence) for sentence in sentences], np.int32)
        lengths = np.empty(len(sentences), np.int32)
        for start in range(0, len(sentences), COUNTED):
            prompted = [self.effective_prompt + sentence for sentence in sentences[start : start + COUNTED]]
            # verbose off: the tokenizer would warn of the very overlength that is counted here
            encoded = tokenizer(prompted, truncation=False, padding=False, return_attention_mask=False, verbose=False)
            lengths[start : start + COUNTED] = [len(ids) for ids in encoded["input_ids"]]
        if limit is not None:
            self.truncated += int((lengths > limit).sum())
        return lengths

    def provenance(self) -> dict[str, Any]:
        """What a file made with this teacher records of it; equal on every machine."""
        return {"model": self.spec, "sha256": self.sha256, "size": self.size, "prompt": self.effective_prompt}


def loaded(config: TeacherConfig, where: str, threads: int) -> Teacher:
    """:meth:`Teacher.load` in a worker, which keeps the last one; the last bits of vectors depend on ``threads``."""
    import torch

    torch.set_num_threads(threads)
    return _loaded(replace(config, trained=None), where)  # what it was trained with has no hash and loads nothing


@functools.lru_cache(maxsize=1)
def _loaded(config: TeacherConfig, where: str) -> Teacher:
    return Teacher.load(config, where)


def _embed_unit(batches: list[list[str]], config: TeacherConfig, where: str, threads: int) -> list[np.ndarray]:
    teacher = loaded(config, where, threads)
    return [teacher._forward(batch) for batch in batches]


def _check_modules(path: Path, what: str) -> None:
    """Raise ConfigError for a model of modules that are not sentence-transformers' own: they would be run as code.

    Before version 6 the library imports what a local ``modules.json`` names, be it a file that came with the model.
    """
    modules = read_json(path / "modules.json")
    for module in modules if isinstance(modules, list) else [modules]:
        kind, folder = (module.get(key, "") for key in ("type", "path")) if isinstance(module, dict) else ("", "")
        if not str(kind).startswith(OWN_MODULES):
            raise ConfigError(
                f"{what}: its modules.json wants `{kind}`, which is not of {OWN_MODULES}* and would run code that came "
                "with the model; name another model"
            )
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            raise ConfigError(f"{what}: the path `{folder}` in its modules.json leads out of it; name another model")


def pack_vectors(vectors: np.ndarray) -> pa.Array:
    """Rows of (n, size) as little-endian float32 bytes, one Parquet cell each, in the memory that they lie in."""
    numbers = np.ascontiguousarray(vectors, dtype="<f4")
    count, size = numbers.shape
    return pa.Array.from_buffers(pa.binary(4 * size), count, [None, pa.py_buffer(numbers)])


def unpack_vectors(column: pa.ChunkedArray, size: int) -> np.ndarray:
    """The (n, size) float32 matrix of a column of :func:`pack_vectors`' cells; DataError when it has others."""
    kind = column.type
    if not pa.types.is_fixed_size_binary(kind) or kind.byte_width != 4 * size or column.null_count:
        raise DataError(f"stored vectors are not of {size} float32 numbers; delete the output and run `dvc repro`")
    matrix = np.empty((len(column), size), dtype=np.float32)
    row = 0
    for chunk in column.chunks:
        if len(chunk):  # else it may have no memory
            numbers = np.frombuffer(chunk.buffers()[1], "<f4", len(chunk) * size, 4 * size * chunk.offset)
            matrix[row : row + len(chunk)] = numbers.reshape(len(chunk), size)
        row += len(chunk)
    return matrix
