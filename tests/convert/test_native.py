"""The process of a stage: what it answers arrives, and however it ends there is one clear error."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from gaussian_splatting import health
from gaussian_splatting.convert import native, worker
from gaussian_splatting.errors import SceneError


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Run a script in place of the worker."""

    def run(script: str, **options):
        (tmp_path / "stand_in.py").write_text("import json, os, sys, time\n" + textwrap.dedent(script))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(native, "WORKER", "stand_in")
        return native.run_stage("mapping", {"number": 3}, tmp_path / "log.txt", **options)

    return run


def test_the_result_and_the_progress_arrive(play):
    ticks: list[tuple[int, int]] = []
    result = play(
        """
        job = json.loads(sys.stdin.readline())
        print("a library chats")
        print(json.dumps({"done": 1, "total": 2}))
        print(json.dumps({"result": {"stage": sys.argv[1], "twice": 2 * job["number"]}}))
        """,
        tick=lambda done, total: ticks.append((done, total)),
    )
    assert result == {"stage": "mapping", "twice": 6}
    assert ticks == [(1, 2)]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("os.kill(os.getpid(), 11)", r"mapping: the process of pycolmap was ended by SIGSEGV; its messages are in"),
        ("os.kill(os.getpid(), 9)", r"ended by SIGKILL \(out of memory\? try a smaller --max_size or --threads 1\)"),
        ("print('bad alloc', file=sys.stderr); os._exit(7)", r"ended with status 7: bad alloc; its messages"),
        ("print(json.dumps({'failed': 'no such table'}))", r"mapping: pycolmap failed: no such table; its messages"),
        ("print(json.dumps({'done': 1, 'total': 2}))", r"ended with status 0: words; its messages"),
        ("print(json.dumps({'refused': 'no CUDA here'}))", r"^no CUDA here$"),
    ],
)
def test_every_end_is_one_error(play, tmp_path, script, message):
    with pytest.raises(SceneError, match=message):
        play(f"sys.stdin.readline()\nprint('words', file=sys.stderr)\nsys.stderr.flush()\n{script}")
    assert "words" in (tmp_path / "log.txt").read_text()


def test_words_of_the_library_are_shown_only_when_asked(play, capsys):
    script = "sys.stdin.readline(); print('chat', file=sys.stderr); print(json.dumps({'result': {}}))"
    play(script)
    assert "chat" not in capsys.readouterr().err
    play(script, verbose=True)
    assert "chat" in capsys.readouterr().err


def test_an_interruption_ends_the_process(play, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    note = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt):
        play(
            f"""
            open({str(note)!r}, "w").write(str(os.getpid()))
            print(json.dumps({{"done": 1, "total": 2}}), flush=True)
            time.sleep(60)
            """,
            tick=stop,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="processes end otherwise there")
def test_the_worker_ends_with_its_parent(tmp_path):
    """A parent is killed while its worker waits for nothing: the worker must not live on."""
    import subprocess

    package = Path(native.__file__).resolve().parents[2]
    script = f"""
        import sys, threading, time
        sys.path.insert(0, {str(package)!r})
        from gaussian_splatting.convert import worker
        threading.Thread(target=worker._end_with_parent, daemon=True).start()
        print("ready", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    process.stdin.close()  # as when the parent dies
    assert process.wait(timeout=20) == 3
    process.stdout.close()


def test_without_pycolmap_the_install_command_is_named(monkeypatch):
    monkeypatch.setattr(health, "is_importable", lambda module: module != "pycolmap")
    with pytest.raises(SceneError, match=r'needs pycolmap: pip install "gaussian-splatting-anywhere\[convert\]"'):
        native.require_pycolmap()


def test_a_signal_without_a_name_is_told_by_number():
    unnamed = max(signal.Signals) + 30
    assert f"was ended by {unnamed}" in native._what_happened(-unnamed, {}, native.deque())


def test_the_worker_imports_no_pillow():
    import subprocess

    code = (
        "import sys, gaussian_splatting.convert.worker as w; w._stage('mapping');"
        "print([m for m in ('PIL', 'cv2', 'torch') if m in sys.modules])"
    )
    if not health.is_importable("pycolmap"):
        pytest.skip("needs the extra 'convert'")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_old_pycolmap_is_refused_with_the_cure():
    worker.require_version("4.0.0")
    with pytest.raises(SceneError, match=r'pycolmap 3\.13\.0 is too old: pip install --upgrade "pycolmap>=4"'):
        worker.require_version("3.13.0")
