"""Rows H1, H2, H8 and E13: what is typed is never run, never guessed and never ignored; who listens does not matter."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from small_run import make_scene, splat
from toy import results
from zygote import Zygote

from gaussian_splatting import train
from gaussian_splatting.cli.option_flags import given_options
from gaussian_splatting.cli.strict_flags import parse_strictly
from gaussian_splatting.cli.train_flags import build_parser
from gaussian_splatting.errors import SplatError
from gaussian_splatting.prepare import trainer_class
from gaussian_splatting.trainer.rules import option_groups

NEEDED = ["-s", "scene", "-d", "run"]


@pytest.fixture(scope="module")
def parser():
    return build_parser()


def refusal(parser, capsys, *words: str) -> str:
    """What is said about a command line that is refused."""
    with pytest.raises(SystemExit) as caught:
        parse_strictly(parser, [*NEEDED, *words])
    assert caught.value.code == 2
    return capsys.readouterr().err


# H2


def flags_of(parser) -> list[str]:
    return sorted({name for action in parser._actions for name in action.option_strings if name.startswith("--")})


def misspelt(name: str, draw: random.Random) -> str:
    letters = list(name[2:])
    place = draw.randrange(len(letters))
    match draw.randrange(4):
        case 0:
            del letters[place]
        case 1:
            letters.insert(place, draw.choice("abcxyz_"))
        case 2:
            letters[place] = draw.choice("abcxyz_")
        case _:
            other = draw.randrange(len(letters))
            letters[place], letters[other] = letters[other], letters[place]
    return "--" + "".join(letters)


def test_a_misspelt_flag_is_answered_with_the_nearest(parser, capsys):
    draw, known, hits, tried = random.Random(0), flags_of(parser), 0, 0
    assert len(known) > 80
    while tried < 500:
        name = draw.choice(known)
        wrong = misspelt(name, draw)
        if wrong in known or len(wrong) < 6:
            continue
        tried += 1
        message = refusal(parser, capsys, wrong, "1")
        assert f"there is no flag '{wrong}'" in message
        hits += name in message
    assert hits > 0.9 * tried


@pytest.mark.parametrize("name", ["--sh_deg", "--itera", "--densify_interv", "--checkpoint_sec"])
def test_abbreviations_are_refused(parser, capsys, name: str):
    assert f"there is no flag '{name}'; did you mean" in refusal(parser, capsys, name, "1")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seed", "1", "--seed", "2"], "--seed is given twice; give it once"),
        (["--seed=1", "--seed=1"], "--seed is given twice"),
        (["-i", "5", "--iterations", "6"], "--iterations is given twice (as -i and as --iterations)"),
        (["-r2", "-r", "4"], "-r is given twice"),
        (["--eval", "--eval"], "--eval is given twice"),
        (["--opacity_lr", "1", "--opacity_lr", "2"], "--opacity_lr is given twice"),
    ],
)
def test_a_flag_given_twice_is_refused(parser, capsys, words: list[str], reason: str):
    assert reason in refusal(parser, capsys, *words)


@pytest.mark.parametrize("words", [["more"], ["--", "--seed"], ["-"]])
def test_words_without_a_flag_are_refused(parser, capsys, words: list[str]):
    assert "unexpected " in refusal(parser, capsys, *words) or "there is no flag" in refusal(parser, capsys, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "x"], ["--seed", "1.5"], ["-i", "many"], ["--sh_degree", "7"], ["--mode", "densfy"],
        ["--threads", "0"],
        ["--checkpoint_seconds", "-1"], ["--checkpoint_seconds", "nan"], ["--checkpoint_interval", "-1"],
        ["--checkpoint_interval", "x"], ["-i", "5", "--epochs", "2"], ["--image_scale", "a"], ["--save_iterations"],
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused_with_the_flag(parser, capsys, words: list[str]):
    message = refusal(parser, capsys, *words)
    assert words[0] in message or words[-2] in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 3


def given(*words: str) -> dict[str, object]:
    cls = trainer_class("densify")
    arguments = parse_strictly(build_parser(), [*NEEDED, *words])
    return given_options(arguments, option_groups(cls), cls.__name__)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-o", "densify_intervall=5"], "has no option 'densify_intervall'; nearest: densify_interval"),
        (["-o", "densify_interval"], "expected NAME=VALUE"),
        (["-o", "=5"], "has no option ''"),
        (["-o", "densify_interval=5", "-o", "densify_interval=6"], "is given twice: '5' and '6'"),
        (["--densify_interval", "5", "-o", "densify_interval=5"], "is given twice"),
        (["--densify_interval", "5.5"], "option densify_interval is '5.5'; expected an integer"),
        (["--mcmc_cap_max", "5"], "has no option 'mcmc_cap_max'"),
        (["--mask_mode", "ignor"], "option mask_mode is 'ignor'; expected none or ignore or bg_color"),
    ],
)
def test_options_of_the_wrong_name_or_kind_are_refused(words: list[str], reason: str):
    with pytest.raises(SplatError, match=re.escape(reason)):
        given(*words)


# H1 and E13, under an audit hook, in a process of their own because such a hook stays

AUDIT = r"""
import builtins, io, os, pickle, sys, zipfile
from pathlib import Path

import numpy as np
import torch
import toy

from gaussian_splatting import train
from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io.checkpoint import read_checkpoint
from gaussian_splatting.options import flat_options, parse
from gaussian_splatting.prepare import all_option_groups

os.chdir(sys.argv[1])
toy.toy_run(Path("run"), 2)  # everything is imported after this

class Bomb:
    def __reduce__(self):
        return (os.system, ("touch x",))

bombs = {
    "a.pkl": pickle.dumps(Bomb()), "b.pth": pickle.dumps(Bomb(), 2),
    "c.safetensors": pickle.dumps({"step": Bomb()}), "step_000009.safetensors": pickle.dumps([Bomb()]),
}
for name, content in bombs.items():
    Path(name).write_bytes(content)
torch.save({"step": Bomb()}, "d.pth")
torch.save({"step": Bomb()}, "e.safetensors", _use_new_zipfile_serialization=False)
np.savez("f.npz", a=np.array([Bomb()], dtype=object))
np.save("g.npy", np.array([Bomb()], dtype=object))

VALUES = [
    "__import__('os').system('touch x')", "$(touch x)", "`touch x`", "1;touch x", "lambda: 1", "[1].__class__",
    "1 or __import__('os').system('touch x')", "{1: 2}", "1 if True else 2", "\x00", "\n1\n2",
    "9" * 10_000_000, "(" * 100_000, "1e" + "9" * 30,
]
known = flat_options(all_option_groups())
WATCHED = {
    "exec", "compile", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class",
    "import", "marshal.loads", "ctypes.dlopen", "socket.connect", "urllib.Request",
}
seen, watching = [], False

def hook(event, arguments):
    if watching and event in WATCHED:
        seen.append((event, str(arguments)[:200]))

sys.addaudithook(hook)
refused = 0
watching = True
for path in sorted(Path(".").glob("*.*")):
    if path.is_file():
        try:
            read_checkpoint(path)
        except CheckpointError:
            refused += 1
for name, entry in known.items():
    for value in VALUES:
        try:
            parse(name, value, entry.annotation)
        except ValueError:
            refused += 1
watching = False
assert seen == [], seen
assert refused >= 8 + 50 * 10, refused
for value in VALUES[:8]:
    for name in ("opacity_lr", "bg_color", "mask_mode", "densify_interval"):
        status = train.main(["-s", "scene", "-d", "other", "--mode", "densify", "-o", name + "=" + value])
        assert status == 2, (name, value, status)
for path in sorted(Path(".").glob("*.*")):
    if path.is_file():
        status = train.main(["-s", "scene", "-d", "other", "--resume", str(path)])
        assert status == 2, (path, status)
assert not Path("x").exists()
print("silent", refused)
"""


def test_no_value_and_no_checkpoint_is_ever_run(tmp_path: Path):
    (tmp_path / "audit.py").write_text(textwrap.dedent(AUDIT))
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, str(tmp_path / "audit.py"), str(tmp_path)],
        env={"PYTHONPATH": f"{here}:{here.parents[1]}", "PATH": "", "NUMBA_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "silent " in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_the_audit_hook_would_have_seen_it():
    """The control."""
    code = "import sys; seen = []; sys.addaudithook(lambda e, a: seen.append(e)); eval('1+1'); print('exec' in seen)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


# H8


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(tmp_path_factory.mktemp("scene") / "scene", splat(), 3)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("streams", ["full", "no reader", "closed"])
def test_training_goes_on_whoever_listens(zygote: Zygote, scene: Path, tmp_path: Path, streams: str):
    words = ["-s", str(scene), "-i", "15", "--sh_degree", "1", "--checkpoint_interval", "5"]
    assert zygote.trial("command", *words, "-d", str(tmp_path / "heard"), log=tmp_path / "log") == 0
    assert zygote.trial("command", *words, "-d", str(tmp_path / "unheard"), streams=streams) == 0
    assert results(tmp_path / "unheard") == results(tmp_path / "heard")
    assert (tmp_path / "unheard/report.html").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_log_holds_no_escape_sequences_and_few_lines_of_progress(zygote: Zygote, scene: Path, tmp_path: Path):
    words = ["-s", str(scene), "-i", "60", "--sh_degree", "1", "-d", str(tmp_path / "run")]
    environment = {"TERM": "dumb"}
    assert zygote.trial("command", *words, log=tmp_path / "log", environment=environment) == 0
    text = (tmp_path / "log").read_text()
    assert "completed 60 steps" in text
    assert "\x1b" not in text
    assert text.count("\r") < 6


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys):
    assert train.main(["-s", str(tmp_path / "absent"), "-d", str(tmp_path / "run"), "-i", "5"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Traceback" not in message
