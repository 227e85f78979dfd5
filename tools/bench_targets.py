"""Times the CPU step as compiled for older processors, and looks at what the kernels are on ARM.

    python tools/bench_targets.py [--scene garden] [--threads 1] [--repeats 15]

The first table runs the step of `bench_cpu.py` compiled for this processor, for AVX2 (x86-64-v3) and for plain x86-64,
in turns of processes of their own. The second compiles the same kernels for 64-bit ARM and counts instructions: NEON
arithmetic on four floats, fused multiply-adds among it, vectors moved to and from the stack, and calls of functions by
name. Nothing is run there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "this processor": {},
    "AVX2 and FMA (x86-64-v3)": {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""},
    "plain x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
}
STAGES = ("forward_ms", "loss_ms", "backward_ms", "adam_ms", "total_ms")
ARM, ARM_PROCESSOR = "aarch64-unknown-linux-gnu", "neoverse-n1"
FOUR_FLOATS = re.compile(r"^\s*(f[a-z]+)\s+v\d+\.4s")
STACK = re.compile(r"^\s*(?:str|ldr|stp|ldp|stur|ldur)\s+q\d+.*\[sp")
CALL = re.compile(r"^\s*bl\s+(\S+)")


def timed(scene: str, threads: int, repeats: int, target: dict[str, str]) -> dict[str, float]:
    """Median milliseconds of the stages as compiled for one target."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | target | {"NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "tools/bench_cpu.py", "--scene", scene, "--threads", str(threads), "--json"]
        command += ["--repeats", str(repeats), "--no-prototype", "--no-memory"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["ours"]


def compiled_kernels() -> dict[str, str]:
    """LLVM code of all kernels of a step, by name. They must not have been loaded from a cache."""
    import bench_cpu
    from numba.core import event

    found = {}

    class Listener(event.Listener):
        def on_start(self, event: event.Event) -> None:
            """Nothing to do."""

        def on_end(self, event: event.Event) -> None:
            """Note what has been compiled."""
            dispatcher = event.data["dispatcher"]
            found[dispatcher.py_func.__name__] = dispatcher

    with event.install_listener("numba:compile", Listener()):
        bench_cpu.our_step("synth200k", 1)()
    return {name: found[name].inspect_llvm(found[name].signatures[0]) for name in found if is_kernel(found[name])}


def is_kernel(dispatcher: object) -> bool:
    """Whether Python calls it: helpers are compiled without what that needs."""
    return not getattr(dispatcher, "targetoptions", {}).get("no_cpython_wrapper", False)


def for_arm(code: str) -> str:
    """Assembly for 64-bit ARM of LLVM code that was made for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(ARM).create_target_machine(cpu=ARM_PROCESSOR, opt=3)
    code = re.sub(r'^target triple = ".*"$', f'target triple = "{ARM}"', code, flags=re.MULTILINE)
    code = re.sub(
        r'^target datalayout = ".*"$', f'target datalayout = "{machine.target_data}"', code, flags=re.MULTILINE
    )
    code = re.sub(r'"target-(cpu|features)"="[^"]*"', "", code)
    return machine.emit_assembly(llvm.parse_assembly(code))


def inspected(name: str, assembly: str) -> str:
    """A row of the second table."""
    lines = assembly.splitlines()
    vectors = Counter(match[1] for line in lines if (match := FOUR_FLOATS.match(line)))
    fused = sum(count for operation, count in vectors.items() if operation in ("fmla", "fmls"))
    moved = sum(1 for line in lines if STACK.match(line))
    calls = Counter(match[1] for line in lines if (match := CALL.match(line)))
    outside = ", ".join(sorted(call for call in calls if not call.startswith(("Py", "_ZN", "numba_", "NRT")))) or "none"
    return f"| {name} | {sum(vectors.values())} | {fused} | {moved} | {outside} |"


def main() -> None:
    """Measure, inspect and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", default="garden")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--kernels", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kernels is not None:
        sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
        options.kernels.write_text(json.dumps(compiled_kernels()), encoding="utf-8")
        return
    print("| compiled for |", " | ".join(STAGES), "| ratio |\n|---" + "|---" * (len(STAGES) + 1) + "|")
    first = None
    for name, target in TARGETS.items():
        times = timed(options.scene, options.threads, options.repeats, target)
        first = first or times["total_ms"]
        cells = [*(f"{times[stage]:.1f}" for stage in STAGES), f"{times['total_ms'] / first:.2f}"]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)
    print("\n| kernel on ARM | on four floats | fused | to and from the stack | calls |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        target = Path(cache, "kernels.json")
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        subprocess.run([sys.executable, __file__, "--kernels", target], env=environment, check=True)
        for name, code in json.loads(target.read_text(encoding="utf-8")).items():
            print(inspected(name, for_arm(code)))


if __name__ == "__main__":
    main()
