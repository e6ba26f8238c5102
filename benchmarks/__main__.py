"""`make bench` and `make bench-accuracy`: every module beside this one, each in a process of its own, into one table.

A module has `rows()`, a list of `Row` or an iterator of them; one with `LONG = True` belongs to `make bench-accuracy`. What was measured is kept in
`.darkroom/benchmarks/`, so that a run which was stopped goes on with the modules that are missing, and
`benchmarks/RESULTS.md` always shows the newest figures of all.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from importlib import metadata
from pathlib import Path

from benchmarks.rows import Row

FOLDER = Path(__file__).parent
MEASURED = Path(".darkroom/benchmarks")


def modules() -> dict[str, bool]:
    """Return every measuring module's name and whether it is a long one, without importing any."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        if any(isinstance(node, ast.FunctionDef) and node.name == "rows" for node in body):
            long = any(isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LONG" for node in body)
            found[path.stem] = long
    return found


def machine() -> str:
    """Name the processor, its cores and the libraries that do the work."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
        flags = {"avx512_bf16", "amx_bf16", "avx512_vnni"} & set(info.read_text().split())
        cpu += f" ({', '.join(sorted(flags))})" if flags else ""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "onnxruntime", "prefect", "mlflow", "dvc"))
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {versions}"


def measure(name: str) -> None:
    """Run one module in a process of its own."""
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ  # as components.__main__ sets it for a step
    code = f"from benchmarks.__main__ import keep_rows; keep_rows({name!r})"
    if subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode:
        print(f"{name} failed: rows that it had not come to are left as they were, or out", file=sys.stderr)


def keep_rows(name: str) -> None:
    """Measure with one module, here, and keep each row as soon as it is there: some take hours."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in importlib.import_module(f"benchmarks.{name}").rows():
        rows.append(asdict(row))
        (MEASURED / f"{name}.json").write_text(json.dumps(rows))
        (MEASURED / f"{name}.stamp").write_text(json.dumps({"date": date.today().isoformat(), "machine": machine()}))


def table(names: list[str]) -> str:
    """Return the Markdown table of what was measured, one line a row."""
    lines = ["| what | measured | target | met | note |", "| --- | --- | --- | --- | --- |"]
    for name in names:
        path = MEASURED / f"{name}.json"
        if not path.exists():
            continue
        for values in json.loads(path.read_text()):
            row = Row(**values)
            met = {True: "yes", False: "**no**", None: ""}[row.met]
            lines.append(f"| {row.name} | {row.measured} | {row.target} | {met} | {row.note} |")
    return "\n".join(lines)


def write_results() -> str:
    """Write benchmarks/RESULTS.md from all that was measured, and return its text."""
    known = modules()
    stamps = {json.loads(path.read_text())["machine"]: json.loads(path.read_text())["date"] for path in sorted(MEASURED.glob("*.stamp"))}
    parts = [
        "# Measures",
        "Written by `make bench` and `make bench-accuracy`, side by side in one run. Seconds depend on the machine, ratios hold.",
        *(f"Machine: {text}; newest figures of {day}." for text, day in stamps.items()),
        table([name for name, long in known.items() if not long]),
        "## Accuracy (`make bench-accuracy`)",
        table([name for name, long in known.items() if long]),
    ]
    text = "\n\n".join(parts) + "\n"
    (FOLDER / "RESULTS.md").write_text(text, encoding="utf-8")
    return text


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Darkroom side by side and write benchmarks/RESULTS.md.")
    parser.add_argument("names", nargs="*", help=f"modules to measure; default: all short ones. There are: {', '.join(modules())}")
    parser.add_argument("--accuracy", action="store_true", help="the long ones (hours); each goes on where it was stopped")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the table from what is there")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(modules())
    if unknown:
        print(f"unknown measure {', '.join(sorted(unknown))}. There are: {', '.join(modules())}", file=sys.stderr)
        return 2
    if not arguments.table:
        for name in arguments.names or [name for name, long in modules().items() if long == arguments.accuracy]:
            measure(name)
    print(write_results())
    return 0


if __name__ == "__main__":
    sys.exit(main())
