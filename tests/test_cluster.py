"""Shards made by a Ray cluster are those made here, byte for byte, and a worker lost in the middle is replaced.

A real cluster of two nodes on the loopback interface; skipped without Ray (requirements-cluster.txt).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import timm
import torch
from test_teacher import VOCABULARY, tiny_config, write_tiny
from test_video import pictures, write_video
from test_wikipedia import page, write_dump

import slt.teacher
import slt.wikipedia
from slt import cluster
from slt.config.data import FeaturesConfig, FramesConfig, WikipediaConfig
from slt.errors import ConfigError, DataError
from slt.features import make_features
from slt.frames import make_frames
from slt.manifest import Clip, write_manifest
from slt.store import read_json
from slt.targets import make_targets
from slt.teacher import Teacher

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
LOOPBACK = "127.0.0.2"  # Ray takes 127.0.0.1 for the machine's own address
FRAMES = FramesConfig(size=64, fit="stretch", stride=1, quality=90, clips_per_shard=1)
SHARDS = 8
SENTENCES = 1_200
NO_LOSS = {"train": 0, "dev": 0, "test": 0}

SCRIPT = """
import sys, torch
from pathlib import Path
from slt.errors import SltError
sys.path.insert(0, sys.argv[1])
import test_cluster
torch.set_num_threads(1)
try:
    getattr(test_cluster, sys.argv[2])()
except SltError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def frames() -> None:
    make_frames(FRAMES, Path("manifest.parquet"), Path("frames"), NO_LOSS)


def features() -> None:
    weights = FeaturesConfig("test_efficientnet.r160_in1k", "tiny.pth", "avg", 8, "float32", True)
    make_features(weights, FRAMES.size, Path("frames"), Path("features"))


def targets() -> None:
    slt.teacher.UNIT = 1
    make_targets(tiny_config(Path("tiny").resolve()), "t", Path("corpus"), Path("targets"))


def wikipedia() -> None:
    slt.wikipedia.BATCH_CHARACTERS, slt.wikipedia.SENTENCES_PER_SHARD = 5_000, 20
    config = WikipediaConfig("dump.xml.bz2", SENTENCES, min_words=2, max_words=20, lowercase=False, dev_sentences=9)
    sentences = slt.wikipedia.extract_sentences(config, Path("corpus/manifest.parquet"), "demo")
    teacher = Teacher.load(tiny_config(Path("tiny").resolve()), "t")
    slt.wikipedia.embed_sentences(sentences, teacher, Path("wikipedia"))


def lost() -> None:
    """Units that kill each worker they are given to, beside one that does not."""
    dies = "import os; open('attempts-{}', 'a').write('x'); os._exit(9)"
    for stay in (False, True):
        try:
            list(cluster.cluster_map(exec, ["", dies.format(stay)], stay=stay))
        except DataError as error:
            Path(f"error-{stay}").write_text(str(error))


STAGES = {"frames": frames, "features": features, "targets": targets, "wikipedia": wikipedia}


@pytest.fixture(scope="module")
def nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with one core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": LOOPBACK, "object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            started.add_node(**node)
            yield started.address
        finally:
            started.shutdown()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of as many clips as shards, texts and articles, with all that this machine makes of it."""
    folder = tmp_path_factory.mktemp("here")
    clips = []
    write_video(folder / "video.mp4", pictures(250, 320, 240, seed=1))
    for i in range(SHARDS):
        clips.append(Clip(f"clip{i}", "train", "en", "ase", str(folder / "video.mp4"), "text"))
    write_manifest(folder / "manifest.parquet", clips)
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet.r160_in1k").state_dict(), folder / "tiny.pth")
    write_tiny(folder / "teacher").rename(folder / "tiny")
    texts = [sentence(i) for i in range(SENTENCES + 200)]
    clips = [Clip(f"clip{i}", "train" if i else "dev", "en", "ase", "v.mp4", text) for i, text in enumerate(texts)]
    write_manifest(folder / "corpus" / "manifest.parquet", clips[:200])
    write_dump(
        *(page(f"P{i}", " ".join(texts[i : i + 20])) for i in range(100, len(texts), 10)), name=f"{folder}/dump.xml.bz2"
    )
    for stage in STAGES:
        _, err = start(stage, folder).communicate(timeout=300)
        assert (folder / stage).exists(), err
    return folder


@pytest.fixture
def there(here: Path, tmp_path: Path) -> Path:
    """The same corpus, nothing made of it."""
    for name in ("manifest.parquet", "tiny.pth", "tiny", "corpus", "dump.xml.bz2"):
        os.symlink(here / name, tmp_path / name)
    return tmp_path


def sentence(i: int) -> str:
    """Of two to twelve words that the tiny teacher knows: it cuts the longer ones."""
    words = random.Random(i).choices(VOCABULARY[-5:], k=2 + i % 11)
    return " ".join(words).capitalize() + "."


def start(stage: str, folder: Path, address: str = "") -> subprocess.Popen[str]:
    settings = {"SLT_CLUSTER": address, "SLT_WORKERS": "", "SLT_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    others = {name: value for name, value in os.environ.items() if name not in {"SLT_WORK", "SLT_RAW"}}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT / "tests"), stage],
        cwd=folder,
        env={**others, **settings, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def made(folder: Path, stage: str) -> list[dict[str, object]]:
    """What the run log says of the shards of a stage."""
    log = folder / "data/work" / stage / "run-log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_for(found: Callable[[], T | None], process: subprocess.Popen[str]) -> T:
    deadline = time.monotonic() + 300
    while (value := found()) is None:
        assert process.poll() is None, process.communicate()[1]
        if time.monotonic() > deadline:
            process.kill()  # it would hold the nodes that the next test needs
            raise AssertionError(process.communicate()[1])
        time.sleep(0.005)
    return value


def test_frames_with_a_worker_killed_inside_a_shard_are_the_bytes_made_here(
    nodes: str, here: Path, there: Path
) -> None:
    process = start("frames", there, nodes)
    # a worker opens its shard under a temporary name before it decodes
    begun = wait_for(lambda: next(there.glob("data/work/frames/*/.frames-*.tmp"), None), process)
    shard, victim = begun.name[1:].split(".")[0], int(begun.name.split(".")[-2])
    assert victim != process.pid, "the stage itself makes shards"
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert contents(there / "frames") == contents(here / "frames")
    makers = {str(entry["shard"]): entry["process"] for entry in made(there, "frames")}
    assert len(makers) == SHARDS and makers[f"{shard}.parquet"] != victim


def test_features_with_a_worker_killed_are_the_bytes_made_here(nodes: str, here: Path, there: Path) -> None:
    os.symlink(here / "frames", there / "frames")
    process = start("features", there, nodes)
    first = wait_for(lambda: next(iter(made(there, "features")), None), process)
    assert first["process"] != process.pid, "the stage itself makes shards"
    os.kill(int(str(first["process"])), signal.SIGKILL)
    assert len(made(there, "features")) < SHARDS, "too late"
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert contents(there / "features") == contents(here / "features")
    assert len({entry["shard"] for entry in made(there, "features")}) == SHARDS


def test_targets_are_the_bytes_made_here(nodes: str, here: Path, there: Path) -> None:
    process = start("targets", there, nodes)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert contents(there / "targets") == contents(here / "targets")
    assert read_json(here / "targets" / "targets.json")["truncated"]


def test_wikipedia_with_a_worker_killed_is_the_bytes_made_here(nodes: str, here: Path, there: Path) -> None:
    process = start("wikipedia", there, nodes)
    first = wait_for(lambda: next(iter(made(there, "wikipedia")), None), process)
    assert first["process"] != process.pid, "the stage itself makes shards"
    os.kill(int(str(first["process"])), signal.SIGKILL)
    shards = len(made(here, "wikipedia"))
    assert len(made(there, "wikipedia")) < shards, "too late"
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert contents(there / "wikipedia") == contents(here / "wikipedia")
    assert len({entry["shard"] for entry in made(there, "wikipedia")}) == shards
    assert read_json(here / "wikipedia" / "index.json")["truncated"]


def test_work_that_kills_its_workers_is_given_up_with_one_clear_error(nodes: str, there: Path) -> None:
    _, err = start("lost", there, nodes).communicate(timeout=300)
    for stay in (False, True):
        assert (there / f"error-{stay}").exists(), err
        message = (there / f"error-{stay}").read_text()
        assert message.startswith("work was given up after 3 new attempts, each on a worker that was lost")
        assert (there / f"attempts-{stay}").read_text() == "x" * (1 + cluster.RETRIES)
    assert "Traceback" not in err


def test_an_error_of_a_worker_is_the_stages_own(nodes: str, here: Path, there: Path) -> None:
    clips = [Clip(f"clip{i}", "train", "en", "ase", str(there / "none.mp4"), "text") for i in range(4)]
    (there / "manifest.parquet").unlink()
    write_manifest(there / "manifest.parquet", clips)
    process = start("frames", there, nodes)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "DataError: 4 train clips do not decode" in err and "Traceback" not in err


def test_a_stream_is_read_a_window_at_a_time() -> None:
    read: list[int] = []
    windows = cluster._windows((read.append(i) or i for i in range(100)), 10)  # type: ignore[func-returns-value]
    assert next(windows) == list(range(10))
    windows.close()
    assert len(read) <= 20
    assert list(cluster._windows(iter(range(25)), 10)) == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]


def test_no_cluster_at_the_address_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(**options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")  # as Ray does, after half a minute

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("SLT_CLUSTER", "head:6379")
    with pytest.raises(ConfigError, match="SLT_CLUSTER is head:6379: no cluster answers there"):
        cluster.cores()


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLT_CLUSTER", "head:6379")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"requirements-cluster\.txt"):
        cluster.cores()
