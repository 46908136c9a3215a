"""Batches: each item whole or not there at all, whatever happens, on one core or many."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger.batch import Plan, run_batch
from hdagger.errors import FileError, SettingError
from hdagger.items import items_of, shard_of
from hdagger.manifest import MANIFEST, write_samples
from hdagger.outputs import Disk, Store
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.recipe import Recipe
from hdagger.samples import PosteriorSamples

fsspec = pytest.importorskip("fsspec")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

HOSTILE = "<b>=x\n..%2e.png"


def picture(path, seed=0, side=16):
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def prior(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2)).save(path)
    return str(path)


@pytest.fixture
def plan(tmp_path, prior):
    recipe = Recipe("ddrm", steps=2, samples=2, prior=prior)
    return Plan(Disk(tmp_path / "out"), recipe, {"sigma_y": 0.1})


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for k in range(3):
        picture(folder / f"{k}.png", k)
    picture(folder / "deeper/0.png", 7)
    picture(folder / HOSTILE, 8)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    return folder


def draws(out):
    """The samples of every item, by its name."""
    found = sorted(path for path in out.rglob("samples.npz") if ".partial" not in path.parts)
    named = {str(path.parent.relative_to(out)): path for path in found}
    return {name: PosteriorSamples.load(path).draws for name, path in named.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_each_file_gets_the_folder_that_restore_leaves(inputs, plan, run):
    tally = run_batch(items_of([str(inputs)]), plan)
    assert (len(tally.done), len(tally.failed), tally.fresh) == (5, 1, 6)
    names = {row["item"] for row in tally.done}
    assert names == {"0.png", "1.png", "2.png", "deeper/0.png", "%3Cb%3E%3Dx%0A..%252e.png"}
    assert not (plan.out.folder / ".partial").exists()
    recipe = plan.out.folder / "1.png/recipe.toml"
    code, _, error = run("restore", inputs / "1.png", "--recipe", recipe, "-o", "alone")
    assert code == 0, error
    files = {path.name for path in (plan.out.folder / "1.png").rglob("*")} - {"item.json"}
    assert files == {path.name for path in Path("alone").rglob("*")} - {".hdagger.json"}
    alone = PosteriorSamples.load(Path("alone/samples.npz")).draws
    assert torch.equal(draws(plan.out.folder)["1.png"], alone)
    rows = pq.read_table(plan.out.folder / "manifest.parquet").to_pylist()
    assert {row["item"] for row in rows} == names
    assert all(row[name] is not None for row in rows for name in MANIFEST)
    with (plan.out.folder / "failures.csv").open(newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["item"] == "broken.png"
    assert failure["error"].startswith("Wanted a picture, but")
    assert "\n" not in failure["error"]


def test_what_is_done_is_not_done_again_and_what_has_changed_is(inputs, plan):
    items = items_of([str(inputs)])
    first = run_batch(items, plan)
    began = (plan.out.folder / "0.png/item.json").stat().st_mtime_ns
    again = run_batch(items, plan)
    assert (len(again.done), len(again.failed), again.fresh) == (5, 1, 0)
    assert sorted(first.done, key=str) == sorted(again.done, key=str)
    picture(inputs / "0.png", 99)
    assert run_batch(items, plan).fresh == 1
    assert (plan.out.folder / "0.png/item.json").stat().st_mtime_ns > began
    other = Plan(plan.out, plan.recipe, {"sigma_y": 0.2})
    assert run_batch(items, other).fresh == 6


def test_only_what_failed_is_tried_again(inputs, plan):
    items = items_of([str(inputs)])
    run_batch(items, plan)
    assert run_batch(items, plan, retry=True).fresh == 1
    picture(inputs / "broken.png", 5)
    tally = run_batch(items, plan, retry=True)
    assert (len(tally.done), len(tally.failed), tally.fresh) == (6, 0, 1)
    assert not list((plan.out.folder / ".failed").glob("*.json"))


@pytest.mark.parametrize("store", [False, True])
def test_a_kill_at_any_moment_loses_and_doubles_nothing(inputs, plan, tmp_path, store):
    if store:
        plan = replace(plan, out=Store(f"file://{tmp_path}/out"))
    for k in range(3, 12):
        picture(inputs / f"{k}.png", k)
    items = items_of([str(inputs)])
    whole = Plan(Disk(tmp_path / "whole"), plan.recipe, plan.damage)
    run_batch(items, whole)
    moment = random.Random(0)
    torch.set_num_threads(1)
    for _ in range(8):
        child = os.fork()
        if child == 0:
            run_batch(items, plan)
            os._exit(0)
        time.sleep(moment.uniform(0.02, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for folder in (tmp_path / "out").rglob("item.json"):
            if ".partial" not in folder.parts:
                left = {path.name for path in folder.parent.rglob("*")}
                assert left >= {"report.html", "samples.npz", "summary.json"}, "half-written"
    run_batch(items, plan)
    assert same(draws(whole.out.folder), draws(tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out/manifest.parquet").to_pylist()
    assert [row["item"] for row in rows] == sorted({row["item"] for row in rows})
    assert len(rows) == 14


def test_files_are_named_whole(inputs, plan, tmp_path, monkeypatch):
    """So that a worker finds them from anywhere, and tables are the same."""
    monkeypatch.chdir(tmp_path)
    tally = run_batch(items_of(["in/0.png", "in/broken.png"]), plan)
    assert tally.done[0]["source"] == str(inputs / "0.png")
    assert str(inputs / "broken.png") in tally.failed[0]["error"]


def told(out):
    """All that a batch's tables tell, but for how long it took."""
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    return [row | {"seconds": 0} for row in rows], (out / "failures.csv").read_text()


def test_ray_gives_the_same_bits(inputs, plan, tmp_path, prior, monkeypatch):
    monkeypatch.chdir(tmp_path)  # files may be named from where one is
    run_batch(items_of(["in"]), plan)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(plan.recipe.to_toml() + "[damage]\nsigma_y = 0.1\n")
    command = [sys.executable, "-m", "hdagger", "batch", "in", "-o", "ray"]
    command += ["--recipe", str(recipe), "--workers", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout) == {"done": 5, "failed": 1, "new": 6}
    assert same(draws(plan.out.folder), draws(tmp_path / "ray"))
    assert told(plan.out.folder) == told(tmp_path / "ray")


def test_an_object_store_holds_what_a_folder_would(inputs, plan, tmp_path):
    items, store = items_of([str(inputs)]), Store("memory://bucket/restored")
    away = replace(plan, out=store)
    files = fsspec.filesystem("memory")
    run_batch(items, plan)
    for fresh in (6, 0):
        tally = run_batch(items, away)
        assert (len(tally.done), len(tally.failed), tally.fresh) == (5, 1, fresh)
    found = {name.removeprefix("/bucket/restored/") for name in files.find("/bucket/restored")}
    here = {path for path in plan.out.folder.rglob("*") if path.is_file()}
    assert found == {str(path.relative_to(plan.out.folder)) for path in here} - {".hdagger.json"}
    with store.read("1.png/samples.npz") as saved:
        assert torch.equal(PosteriorSamples.load(saved).draws, draws(plan.out.folder)["1.png"])
    write_samples(tmp_path / "samples.parquet", store, tally.done)
    assert len(pq.read_table(tmp_path / "samples.parquet")) == 10
    picture(inputs / "broken.png", 5)
    tally = run_batch(items, away, retry=True)
    assert (len(tally.done), len(tally.failed), tally.fresh) == (6, 0, 1)
    assert not files.find("/bucket/restored/.failed")


def test_in_a_store_the_last_file_says_that_an_item_is_done(tmp_path, monkeypatch):
    store, files, seen = Store("memory://order/out"), fsspec.filesystem("memory"), []
    for name in ("item.json", "mean.png", "z.txt"):
        (tmp_path / name).write_text(name)
    send = type(files).put_file

    def watched(self, path, place, **more):
        seen.append((Path(place).name, files.exists("/order/out/a/item.json")))
        send(self, path, place, **more)

    monkeypatch.setattr(type(files), "put_file", watched)
    for _ in range(2):
        seen.clear()
        store.put(tmp_path, "a", last="item.json")
        assert seen == [("mean.png", False), ("z.txt", False), ("item.json", False)]
    assert store.texts(["a/item.json", "b/item.json"]) == {"a/item.json": "item.json"}
    files.pipe_file("/order/out/a/old.png", b"of a run before")
    store.put(tmp_path, "a", last="item.json")
    assert not files.exists("/order/out/a/old.png")


@pytest.mark.parametrize("out", ["nonsense://x/y", "gs://bucket/new"])
def test_a_store_that_nobody_knows_is_a_line(inputs, out, run):
    code, _, error = run("batch", inputs, "-o", out)
    assert code == 2
    assert error.startswith("hdagger: Wanted an output that fsspec knows, but got ")
    assert len(error.strip().splitlines()) == 1
    assert not Path(out.partition("/")[0]).exists()


def test_a_store_that_cannot_be_reached_is_a_line_before_any_work(inputs, run, monkeypatch):
    """Whatever a kind of store raises, be it no OSError."""

    class Closed(fsspec.get_filesystem_class("memory")):
        protocol = "closed"

        def cat_file(self, *_, **__):
            raise RuntimeError("no way\nin")

    fsspec.register_implementation("closed", Closed, clobber=True)
    monkeypatch.setattr("hdagger.batch._here", lambda *_: pytest.fail("it works"))
    code, out, error = run("batch", inputs, "-o", "closed://bucket/x", "--json")
    assert (code, out) == (2, "")
    assert error == (
        "hdagger: Wanted an output that can be read and written, but closed://bucket/x cannot be "
        "(no way). Look at its address, key and rights.\n"
    )


def test_a_store_may_refuse_what_is_written(tmp_path, monkeypatch):
    store = Store("memory://refused")
    files = type(fsspec.filesystem("memory"))

    def refuses(*_, **__):
        raise RuntimeError("no right")

    for name in ("put_file", "exists", "rm_file", "get_file"):
        monkeypatch.setattr(files, name, refuses)
    (tmp_path / "item.json").write_text("{}")
    for ask in (
        lambda: store.put(tmp_path, "a", last="item.json"),
        lambda: store.remove("a"),
        lambda: store.read("a").__enter__(),
        lambda: store._send(tmp_path / "item.json", "a"),
    ):
        with pytest.raises(FileError, match=r"memory://refused cannot be \(no right\)"):
            ask()


@pytest.fixture
def bucket(monkeypatch):
    """The address of a bucket of S3, served by moto on this machine."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield "s3://bucket/restored"
    server.stop()


@pytest.mark.slow
def test_a_bucket_of_s3_holds_what_a_folder_would_though_it_is_killed(
    inputs, plan, tmp_path, bucket
):
    for k in range(3, 12):
        picture(inputs / f"{k}.png", k)
    run_batch(items_of([str(inputs)]), plan)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(plan.recipe.to_toml() + "[damage]\nsigma_y = 0.1\n")
    command = [sys.executable, "-m", "hdagger", "batch", str(inputs), "-o", bucket, "--json"]
    command += ["--recipe", str(recipe)]
    files, place = fsspec.filesystem("s3", use_listings_cache=False), bucket.removeprefix("s3://")
    done = lambda: [name for name in files.find(place) if name.endswith("/item.json")]
    moment = random.Random(0)
    for _ in range(5):
        before, until = len(done()), time.monotonic() + 240
        with subprocess.Popen(command, stdout=-1, stderr=-1) as program:
            while len(done()) == before and program.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(moment.uniform(0, 0.4))
            program.kill()
        for name in done():
            left = {path.rpartition("/")[2] for path in files.find(name.rpartition("/")[0])}
            assert left >= {"report.html", "samples.npz", "summary.json"}, "half-written"
    finished = len(done())
    assert 5 <= finished < 14
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["done"], told["failed"]) == (1, 14, 1)
    assert told["new"] <= 14 - finished + 1, "what is done is not done again"
    files.get(place, str(tmp_path / "fetched"), recursive=True)
    assert same(draws(plan.out.folder), draws(tmp_path / "fetched"))
    names = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names(tmp_path / "fetched") == names(plan.out.folder) - {".hdagger.json"}


def test_parts_share_an_output(inputs, plan):
    items = items_of([str(inputs)])
    parts = [shard_of(items, f"{k}/3") for k in (1, 2, 3)]
    assert sorted(item.name for part in parts for item in part) == sorted(i.name for i in items)
    for k, part in enumerate(parts, start=1):
        run_batch(part, Plan(plan.out, plan.recipe, plan.damage, part=f"{k}-of-3"))
    assert run_batch(items, plan).fresh == 0
    rows = pq.read_table(plan.out.folder / "manifest-2-of-3.parquet").to_pylist()
    assert [row["item"] for row in rows] == sorted(
        i.name for i in parts[1] if "broken" not in i.name
    )
    with pytest.raises(SettingError, match="Wanted a part as 2/8"):
        shard_of(items, "4/3")


def test_a_manifest_says_damage_and_seed_of_each(inputs, plan, tmp_path):
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / "holes.png")
    rows = "file,seed,mask,sigma_y\nin/0.png,3,holes.png,0.2\nin/0.png,4,,\n"
    (tmp_path / "list.csv").write_text(rows)
    items = items_of([str(tmp_path / "list.csv")])
    assert len({item.name for item in items}) == 2
    tally = run_batch(items, plan)
    first, second = sorted(tally.done, key=lambda row: row["seed"])
    assert (first["seed"], second["seed"]) == (3, 4)
    assert json.loads(first["damage"]) == {"sigma_y": 0.2, "mask": str(tmp_path / "holes.png")}
    assert json.loads(second["damage"]) == {"sigma_y": 0.1}
    assert "mask" in first["recipe"]
    pq.write_table(pa.table({"file": ["in/1.png"], "seed": [5]}), tmp_path / "list.parquet")
    (item,) = items_of([str(tmp_path / "list.parquet")])
    assert (item.source, item.seed) == (inputs / "1.png", 5)
    (tmp_path / "list.csv").write_text("name\nin/0.png\n")
    with pytest.raises(FileError, match="Wanted a column 'file'"):
        items_of([str(tmp_path / "list.csv")])


def test_pictures_in_archives_are_restored_as_files_are(inputs, plan, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(inputs / "0.png", "../../0.png")
        archive.add(inputs / "1.png", "b/1.png")
        archive.add(inputs / "broken.png", "b/1.json")  # as a WebDataset has it beside
    content = [(inputs / f"{k}.png").read_bytes() for k in (0, 1)]
    cells = [{"bytes": one, "path": "x"} for one in content]
    pq.write_table(pa.table({"label": [1, 2], "image": cells}), tmp_path / "set.parquet")
    archives = [str(tmp_path / "shard.tar"), str(tmp_path / "set.parquet")]
    inside = items_of(archives, (".png",))
    assert [item.name for item in inside] == ["0.png", "b/1.png", "000000", "000001"]
    run_batch(
        [*items_of([str(inputs / "[01].png")]), *[i for i in inside if i.name != "0.png"]], plan
    )
    found = draws(plan.out.folder)
    assert torch.equal(found["b/1.png"], found["1.png"])
    assert torch.equal(found["000000"], found["0.png"])
    rows = pq.read_table(plan.out.folder / "manifest.parquet").to_pylist()
    assert len({row["input_sha256"] for row in rows}) == 2


def test_no_item_lies_in_another_or_in_the_place_of_a_table(inputs, plan, tmp_path):
    names = "a.png/b.png", "a.png", "failures.csv", "manifest-1-of-2.parquet"
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name in names:
            archive.add(inputs / "0.png", name)
    tally = run_batch(items_of([str(tmp_path / "shard.tar")]), plan)
    assert len(tally.done) == len(draws(plan.out.folder)) == 4
    told_apart = sorted(re.sub("-[0-9a-f]{8}$", "", row["item"]) for row in tally.done)
    assert told_apart == sorted(names)
    assert (plan.out.folder / "failures.csv").read_text() == "item,error\n"


def test_all_samples_make_one_table_to_train_on(inputs, plan, tmp_path):
    tally = run_batch(items_of([str(inputs / "[01].png")]), plan)
    write_samples(tmp_path / "samples.parquet", plan.out, tally.done)
    rows = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [(row["item"], row["sample"]) for row in rows] == [
        ("0.png", 0), ("0.png", 1), ("1.png", 0), ("1.png", 1),
    ]  # fmt: skip
    last = np.array(rows[-1]["values"], np.float32).reshape(rows[-1]["shape"])
    assert np.array_equal(last, draws(plan.out.folder)["1.png"][1].numpy())


def test_what_is_no_list_of_files_is_said_in_a_line(tmp_path, run):
    (tmp_path / "empty").mkdir()
    for given, said in (
        ([tmp_path / "empty"], "Wanted files to restore"),
        ([tmp_path / "none.png"], "does not exist"),
        ([tmp_path / "empty", "--workers", 0], "Wanted"),
        ([tmp_path / "empty", "--domain", "music"], "Wanted"),
    ):
        code, _, error = run("batch", *given, "-o", tmp_path / "out")
        assert code == 2
        assert said in error
        assert len(error.strip().splitlines()) == 1
    for name in ("bad.parquet", "bad.tar"):
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(FileError, match="cannot be read as one"):
            items_of([str(tmp_path / name)])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    (tmp_path / "bad.parquet").write_bytes(buffer.getvalue())
    with pytest.raises(FileError, match="or one of bytes"):
        items_of([str(tmp_path / "bad.parquet")])


def test_pyarrow_is_asked_for_before_anything_is_computed(inputs, plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(FileError, match=r"pip install 'hdagger\[batch\]'"):
        run_batch(items_of([str(inputs)]), plan)
    assert not list(plan.out.folder.rglob("*.npz"))
