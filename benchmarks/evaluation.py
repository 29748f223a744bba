"""Measure four benchmarks of one model in one job, beside four command lines of lm-eval.

In: a small real model; the first rows of each benchmark: the real ones where they are at hand
($ACTIVEUF_SHARED_DATA, or shared/data beside the checkout), else the demo's. Out: seconds from end
to end of both, start of the task wrapper and publication included; and of every row whether output
and value agree. Both have the same task files, rows, precision, batch size and threads.
Cost: about six minutes on two cores.
Command: python -m benchmarks.evaluation [--rows 12] [--new-tokens 32] [--model FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from activeuf_core.artifacts import ArtifactStore
from activeuf_core.digests import DigestCache
from activeuf_core.evals.benchmarks import benchmark
from activeuf_core.jobs import Job, Unit
from activeuf_core.launchers.local import LocalLauncher
from activeuf_core.paths import PREDICTIONS, PROJECT, Layout

NAMES = ("gsm8k", "minerva_math", "ifeval", "truthfulqa")
REAL: Mapping[str, str] = {
    "gsm8k": "gsm8k/test.jsonl.gz",
    "minerva_math": "math/math_test_5000.jsonl.xz",
    "ifeval": "ifeval/input_data.jsonl.gz",
    "truthfulqa": "truthfulqa/mc_task.json.gz",
}
TASKS = PROJECT / "activeuf_core" / "evals" / "tasks"
TASK_FILES = {n: TASKS / f"{n}.yaml" for n in NAMES} | {
    "minerva_math": TASKS / "minerva_math" / "algebra.yaml"
}
STOPS = {"gsm8k": ["Question:", "</s>", "<|im_end|>"]}
MODEL = PROJECT / ".activeuf" / "models" / "SmolLM2-135M-Instruct"
GOAL = 1.5
POLL_S = 0.1
SAME = 1e-4
"""Log-likelihoods of differently shaped batches round differently."""

Row = dict[str, Any]


def shared_data() -> Path | None:
    """Return the folder of real benchmarks, None where there is none."""
    folder = Path(os.environ.get("ACTIVEUF_SHARED_DATA", PROJECT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def rows_of(name: str, data: Path | None) -> Iterator[Row]:
    """Yield the rows of a benchmark."""
    if data is None:
        path = PROJECT / "demo" / "benchmarks" / f"{name}.jsonl"
        yield from map(json.loads, path.open(encoding="utf-8"))
        return
    path = data / REAL[name]
    opener: Any = lzma.open if path.suffix == ".xz" else gzip.open
    with opener(path, "rt", encoding="utf-8") as file:
        if name != "truthfulqa":
            yield from map(json.loads, file)
            return
        for row in json.load(file):  # choice → label, as published; the hub has two lists
            found = row["mc2_targets"]
            lists = {"choices": list(found), "labels": list(found.values())}
            yield {"question": row["question"], "mc2_targets": lists}


def run_ours(folder: Path, model: Path, limit: int, batch: int) -> dict[str, list[Row]]:
    """Score in one job, as a launcher starts it; return the predictions."""
    layout = Layout(folder / "home")
    digests = DigestCache(layout.digests)
    units = []
    for name in NAMES:
        config = {
            "benchmark": name,
            "data": {"name": "rows", "identity": digests.digest(folder / f"{name}.jsonl")},
            "dtype": "float32",
            "max_tokens": 2048,
            "batch_size": batch,
            "max_new_tokens": limit,
        }
        asset, place = benchmark(name).asset, {"rows": str(folder / f"{name}.jsonl")}
        print_ = name.ljust(32, "0")
        inputs = {"dpo_model": {"benchmark": str(model)}}
        kept = str(layout.checkpoints(asset, print_))
        unit = Unit(asset, "benchmark", print_, "1", 0, config, inputs, {}, place, checkpoints=kept)
        units.append(unit)
    job = Job("evaluation", "activeuf_core.evals", tuple(units), str(layout.home))
    launcher = LocalLauncher(layout, slots=1)
    launcher.submit([job])
    while launcher.poll()[job.job_id].phase != "ended":
        time.sleep(POLL_S)
    store = ArtifactStore(layout)
    if not all(store.inspect(unit.asset, unit.fingerprint).is_complete for unit in units):
        raise SystemExit(f"the job failed:\n{launcher.tail(job.job_id, 40)}")
    return {
        name: [
            json.loads(line)
            for line in (store.require(unit.asset, unit.fingerprint) / PREDICTIONS).open()
        ]
        for name, unit in zip(NAMES, units, strict=True)
    }


def run_theirs(folder: Path, model: Path, limit: int, batch: int) -> dict[str, list[Row]]:
    """Score with one command line per benchmark; return the samples."""
    for name in NAMES:
        task: Row = {
            "include": str(TASK_FILES[name]),
            "task": f"local_{name}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"rows": str(folder / f"{name}.jsonl")}},
            "test_split": "rows",
        }
        if name != "truthfulqa":
            kwargs = {"until": STOPS.get(name, []), "do_sample": False, "max_gen_toks": limit}
            task["generation_kwargs"] = kwargs
        (folder / "tasks").mkdir(exist_ok=True)
        (folder / "tasks" / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")
        command = [str(Path(sys.executable).parent / "lm_eval"), "--model", "hf"]
        command += ["--model_args", f"pretrained={model},dtype=float32,max_length=2048"]
        command += ["--include_path", str(folder / "tasks"), "--tasks", f"local_{name}"]
        command += ["--apply_chat_template", "--fewshot_as_multiturn", "--device", "cpu"]
        command += ["--batch_size", str(batch), "--log_samples"]
        command += ["--output_path", str(folder / "results")]
        started = time.perf_counter()
        _run(command, folder / "lm_eval.log")
        _say(f"  lm_eval {name:13} {time.perf_counter() - started:6.1f} s")
    found = {}
    for name in NAMES:
        (path,) = (folder / "results").glob(f"**/samples_local_{name}_*.jsonl")
        samples = [json.loads(line) for line in path.open(encoding="utf-8")]
        found[name] = sorted(samples, key=lambda sample: sample["doc_id"])
    return found


def differences(name: str, ours: list[Row], theirs: list[Row]) -> int:
    """Return how many rows differ in prompt, output or value."""
    metric = benchmark(name).metric
    count = 0
    for mine, sample in zip(ours, theirs, strict=True):
        is_same = math.isclose(mine["correct"], float(sample[metric]), abs_tol=SAME)
        is_same &= mine["prompt_sha256"] == sample["prompt_hash"]
        if name != "truthfulqa":
            is_same &= mine["output"] == sample["filtered_resps"][0]
        count += not is_same
    return count


def _run(command: list[str], log: Path) -> None:
    with log.open("ab") as out:
        done = subprocess.run(command, stdout=out, stderr=out, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Print seconds, ratio and differences; the exit status says whether the goals are met."""
    parser = argparse.ArgumentParser(description="Measure the scoring of a policy.")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    data = shared_data()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if data is not None:
        os.environ["NLTK_DATA"] = str(data / "nltk_data")
    kind = "the demo's" if data is None else "real"
    _say(f"{arguments.rows} {kind} rows of each; load {os.getloadavg()[0]:.1f}")
    limits = (arguments.model.resolve(), arguments.new_tokens, arguments.batch_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for one in NAMES:
            lines = map(json.dumps, islice(rows_of(one, data), arguments.rows))
            (folder / f"{one}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        started = time.perf_counter()
        ours = run_ours(folder, *limits)
        own_s = time.perf_counter() - started
        _say(f"  one job of ours       {own_s:6.1f} s")
        started = time.perf_counter()
        theirs = run_theirs(folder, *limits)
        their_s = time.perf_counter() - started
    differ = {one: differences(one, ours[one], theirs[one]) for one in NAMES}
    _say(
        f"four command lines of lm-eval {their_s:.1f} s ÷ one job {own_s:.1f} s",
    )
    _say(f"= {their_s / own_s:.2f} (goal: {GOAL}); load {os.getloadavg()[0]:.1f}")
    _say("rows that differ: " + ", ".join(f"{one} {count}" for one, count in differ.items()))
    return int(their_s / own_s < GOAL or any(differ.values()))


if __name__ == "__main__":
    sys.exit(main())
