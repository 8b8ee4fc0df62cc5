#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py: runs the fuzz targets of a build folder one after the other (`./dev fuzz` builds it and calls this).

    tests/fuzz/run.py BUILD SECONDS [TARGET...]
    tests/fuzz/run.py BUILD --keep [TARGET...]   adds the collected inputs that reach most to the committed corpora, 12 files each

SECONDS is the processor's time, so that a busy machine does not make it less. Each target starts from its committed corpus and
regressions and from what earlier runs collected in BUILD-found/TARGET/corpus. What crashes, hangs, leaks or grows beyond a GiB is left in
BUILD-found/TARGET, made smaller where that works. A finding that was understood goes to tests/fuzz/regressions/TARGET, under a name that
says what it was.

One line a target; exit 1 if there was any finding.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIMITS = ["-timeout=20", "-rss_limit_mb=3000", "-malloc_limit_mb=1024", "-max_len=8192"]
INTERRUPTED = 72  # libFuzzer's exit status after SIGINT
SPEED = ["-entropic=0", "-len_control=0"]  # entropy's bookkeeping takes most of the time where an input reaches much


def environment():
    told = os.environ.copy()
    told["ASAN_OPTIONS"] = "detect_stack_use_after_return=1:allocator_may_return_null=1:abort_on_error=0"
    told["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
    symbolizer = next(iter(sorted(pathlib.Path("/usr/bin").glob("llvm-symbolizer*"))), None)
    if symbolizer:
        told["ASAN_SYMBOLIZER_PATH"] = str(symbolizer)
    return told


def minimize(program, crash):
    """The same crash with fewer bytes, beside it; nothing if that fails."""
    small = crash.with_name(crash.name + ".small")
    try:
        subprocess.run([program, "-minimize_crash=1", "-runs=20000", "-max_total_time=30", f"-exact_artifact_path={small}", *LIMITS,
                        str(crash)], env=environment(), capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pass


def found_of(program):
    build = program.parent.parent
    return build.with_name(build.name + "-found") / program.name.removeprefix("fuzz_")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(fuzzer, seconds):
    """Lets it run for so much of the processor's time; returns how much it used."""
    used = 0.0
    while fuzzer.poll() is None:
        try:
            fuzzer.wait(timeout=1)
        except subprocess.TimeoutExpired:
            used = cpu_seconds(fuzzer.pid)
            if used >= seconds:
                fuzzer.send_signal(signal.SIGINT)
                fuzzer.wait()
    return used


def run(program, seconds):
    """True: nothing was found."""
    name = program.name.removeprefix("fuzz_")
    found = found_of(program)
    grown = found / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    quiet = ["-close_fd_mask=2"] if name == "import" else []  # the command says what it thinks of each line
    seeds = [str(path) for path in (HERE / "corpus" / name, HERE / "regressions" / name) if path.is_dir()]
    with open(found / "log", "w", encoding="utf-8") as log:
        fuzzer = subprocess.Popen([program, f"-artifact_prefix={found}/", "-print_final_stats=1", *LIMITS, *SPEED, *quiet, str(grown),
                                   *seeds], env=environment(), stdout=subprocess.DEVNULL, stderr=log)
        used = watch(fuzzer, seconds)
    told = (found / "log").read_text(errors="replace")
    last = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", told)
    count = re.findall(r"number_of_executed_units: (\d+)", told)
    new = sorted(path for path in set(found.iterdir()) - before if path.name.split("-")[0] in ("crash", "leak", "oom", "timeout"))
    cov, features, inputs = last[-1] if last else ("0", "0", "0")
    print(f"{name:12} {used:5.0f} s {count[-1] if count else '?':>9} executions  cov {cov:>5}  ft {features:>6}  corpus {inputs:>5}"
          f"  findings {len(new)}", flush=True)
    for crash in new:
        reason = re.search(r"^.*(?:ERROR: |runtime error: |check failed|SUMMARY: ).*$", told, re.M)
        print(f"    {crash}\n    {reason.group(0) if reason else 'see log'}", flush=True)
        if crash.name.startswith("crash-"):
            minimize(program, crash)
    ended_well = fuzzer.returncode in (0, INTERRUPTED)
    if not ended_well and not new:
        print(f"    ended with {fuzzer.returncode}; see {found}/log", flush=True)
    return ended_well


def keep(program, limit=12, size_max=8192):
    """Copies the few inputs of the collected corpus that reach most into the committed one."""
    name = program.name.removeprefix("fuzz_")
    folder = HERE / "corpus" / name
    grown = found_of(program) / "corpus"
    if not grown.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        control = pathlib.Path(scratch) / "control"
        (pathlib.Path(scratch) / "merged").mkdir()
        subprocess.run([program, "-set_cover_merge=1", f"-merge_control_file={control}", *LIMITS, f"{scratch}/merged", str(folder),
                        str(grown)], env=environment(), capture_output=True, check=False)
        files, reached = merge_control(control)
    seen = set().union(*(reached.get(path, set()) for path in files if path.parent == folder))
    left = [path for path in files if path.parent != folder]
    for _ in range(limit - len(list(folder.iterdir()))):
        best = max(left, key=lambda path: len(reached.get(path, set()) - seen) / (path.stat().st_size + 2000), default=None)
        if not best or not reached.get(best, set()) - seen or best.stat().st_size > size_max:
            break
        seen |= reached[best]
        left.remove(best)
        shutil.copy(best, folder / best.name[:8])
    print(f"{name:12} {len(list(folder.iterdir())):3} files, {sum(path.stat().st_size for path in folder.iterdir()):6} bytes")


def merge_control(path):
    """libFuzzer's record of a merge: the files, and the features that each reaches."""
    lines = path.read_text().splitlines()
    count = int(lines[0])
    files = [pathlib.Path(line) for line in lines[2:2 + count]]
    reached = {}
    for line in lines[2 + count:]:
        words = line.split()
        if words[0] == "FT":
            reached[files[int(words[1])]] = set(words[2:])
    return files, reached


def main():
    if len(sys.argv) < 3 or not (sys.argv[2].isdigit() or sys.argv[2] == "--keep"):
        sys.exit("usage: ./dev fuzz SECONDS|--keep [TARGET...]")
    folder = pathlib.Path(sys.argv[1]).resolve() / "tests"
    names = sys.argv[3:] or sorted(path.stem for path in HERE.glob("*.c") if (folder / f"fuzz_{path.stem}").exists())
    missing = [name for name in names if not (folder / f"fuzz_{name}").exists()]
    if missing or not names:
        sys.exit(f"no such target: {' '.join(missing)}")
    if sys.argv[2] == "--keep":
        for name in names:
            keep(folder / f"fuzz_{name}")
        return
    sys.exit(0 if all([run(folder / f"fuzz_{name}", int(sys.argv[2])) for name in names]) else 1)


if __name__ == "__main__":
    main()
