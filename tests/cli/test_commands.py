"""How commands start, speak and fail."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from gaussian_splatting import environment
from gaussian_splatting.cli import commands
from gaussian_splatting.errors import BackendError, SceneError, SplatError

REPOSITORY = Path(__file__).resolve().parents[1]


def parser(*, device: bool = False) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="test")
    commands.add_common_flags(made, device=device)
    return made


def raising(error: BaseException):
    def main(arguments: argparse.Namespace) -> None:
        raise error

    return main


def test_success_is_status_zero(capsys):
    assert commands.run_command(lambda arguments: commands.say("done"), parser(), []) == 0
    assert capsys.readouterr().out == "done\n"


def test_a_refusal_is_one_line_and_status_two(capsys):
    assert commands.run_command(raising(SceneError("a.bin: byte 3: cut; copy it again")), parser(), []) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: a.bin: byte 3: cut; copy it again\n"
    assert captured.out == ""


def test_debug_keeps_the_traceback():
    with pytest.raises(SceneError):
        commands.run_command(raising(SceneError("cut")), parser(), ["--debug"])


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(KeyError):
        commands.run_command(raising(KeyError("bug")), parser(), [])


def test_an_interrupt_is_status_130(capsys):
    assert commands.run_command(raising(KeyboardInterrupt()), parser(), []) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_wrong_flags_are_status_two_and_help_is_zero(capsys):
    assert commands.run_command(raising(AssertionError()), parser(), ["--nonsense"]) == 2
    assert commands.run_command(raising(AssertionError()), parser(), ["--help"]) == 0


@pytest.mark.parametrize(("code", "status"), [(None, 0), (3, 3), ("why", 1)])
def test_a_system_exit_keeps_its_status(code, status, capsys):
    assert commands.run_command(raising(SystemExit(code)), parser(), []) == status


def test_a_missing_file_is_refused_by_name(capsys):
    def main(arguments: argparse.Namespace) -> None:
        Path("no/such/file").read_text()

    assert commands.run_command(main, parser(), []) == 2
    assert capsys.readouterr().err == "error: no/such/file: No such file or directory\n"


def test_out_of_memory_says_what_to_do(capsys):
    assert commands.run_command(raising(MemoryError("cannot take 9 GB\nmore")), parser(), []) == 2
    assert "out of memory (cannot take 9 GB); use smaller pictures" in capsys.readouterr().err


def test_warnings_and_log_records_are_plain_lines_on_stderr(capsys):
    def main(arguments: argparse.Namespace) -> None:
        warnings.warn("two views\n   have no picture", stacklevel=1)
        logging.getLogger("gaussian_splatting.dataset").info("read 3 cameras")
        commands.log.warning("odd")

    assert commands.run_command(main, parser(), []) == 0
    assert capsys.readouterr().err == "warning: two views have no picture\nread 3 cameras\nwarning: odd\n"
    assert not commands.log.handlers


def test_the_other_distribution_is_named_with_its_cure(monkeypatch, capsys):
    monkeypatch.setattr(environment, "rival_distribution", lambda: "2.9")
    assert commands.run_command(lambda arguments: None, parser(), []) == 0
    error = capsys.readouterr().err
    assert "gaussian-splatting 2.9 is installed too" in error
    assert "pip uninstall gaussian-splatting" in error


THREADS = """
    import argparse, sys
    from gaussian_splatting import environment
    from gaussian_splatting.cli import commands
    environment.container_quota = lambda: {quota}
    environment.allowed_threads = lambda: 8
    parser = argparse.ArgumentParser()
    commands.add_common_flags(parser)
    def main(arguments):
        import torch
        from gaussian_splatting.rasterizer.cpu import get_num_threads
        print(torch.get_num_threads(), get_num_threads())
    commands.run_command(main, parser, {flags})
"""


@pytest.mark.parametrize(("quota", "flags"), [(None, ["--threads", "3"]), (1.0, ["--threads", "3"]), (3.2, [])])
def test_threads_are_those_asked_for_or_granted(quota, flags):
    assert run_python(THREADS.format(quota=quota, flags=flags)).stdout.split() == ["3", "3"]


def test_without_flag_and_quota_libraries_choose_their_threads():
    answer = run_python(THREADS.format(quota=None, flags=[]))
    assert answer.stdout.split()[1] == str(environment.allowed_threads())
    assert answer.stderr == ""


def test_threads_must_be_positive(capsys):
    assert commands.run_command(raising(AssertionError()), parser(device=True), ["--threads", "0"]) == 2
    assert "0 is not an integer of at least 1" in capsys.readouterr().err


def test_a_closed_stdout_is_no_error():
    program = """
        import argparse, sys
        from gaussian_splatting.cli import commands
        def main(arguments):
            for number in range(50000):
                print(number)
        sys.exit(commands.run_command(main, argparse.ArgumentParser(), []))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        status = process.wait(timeout=60)
    assert (status, errors) == (0, "")


def test_nothing_heavy_is_imported():
    program = """
        import sys
        import gaussian_splatting.cli.commands, gaussian_splatting.runs.folder
        print([name for name in ("torch", "scipy", "numba", "PIL", "tqdm", "cv2") if name in sys.modules])
    """
    assert run_python(program).stdout.strip() == "[]"


def test_the_automatic_device_is_cuda_when_there_is_a_card(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert commands.chosen_device(argparse.Namespace(device="auto", backend="auto")) == "cuda"
    assert commands.chosen_device(argparse.Namespace(device="auto", backend="cpu")) == "cpu"


def test_an_absent_card_is_refused_with_the_way_to_find_out(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BackendError, match=r"sees 0 CUDA devices here.*gaussian_splatting\.doctor"):
        commands.chosen_device(argparse.Namespace(device="cuda", backend="auto"))


@pytest.mark.parametrize(("device", "backend"), [("tpu9", "auto"), ("cpu", "inria"), ("mps", "auto"), ("meta", "cpu")])
def test_an_unknown_device_or_backend_is_refused(device, backend):
    with pytest.raises(BackendError):
        commands.chosen_device(argparse.Namespace(device=device, backend=backend))


@pytest.mark.parametrize(("backend", "elsewhere"), [("gsplat", "cpu"), ("gsplat-2dgs", "cpu-2dgs")])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_backend_for_cards_is_refused_where_there_is_none(device, backend, elsewhere, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=f"the gsplat backend .* on cpu; use --backend {elsewhere}, or move"):
        commands.chosen_device(argparse.Namespace(device=device, backend=backend))


@pytest.mark.skipif(os.name != "posix", reason="sends itself Ctrl-C")
def test_an_interrupt_that_torch_drops_while_it_is_imported_ends_the_command(tmp_path):
    (tmp_path / "torch.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background of a shell does not have
sys.path.insert(0, FOLDER)
import argparse
from gaussian_splatting.cli import commands
parser = argparse.ArgumentParser()
commands.add_common_flags(parser)
sys.exit(commands.run_command(lambda arguments: print("went on"), parser, []))
"""
    with pytest.raises(subprocess.CalledProcessError) as ended:
        run_python(program.replace("FOLDER", repr(str(tmp_path))))
    assert ended.value.returncode == -signal.SIGINT
    assert ended.value.stdout == ""


def test_errors_of_the_family_are_explained_and_others_are_not():
    assert commands.explained(SplatError("why")) == "why"
    assert commands.explained(RuntimeError("bug")) is None


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.endswith("NUM_THREADS")}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True, env=environ)
