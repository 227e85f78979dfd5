"""TensorBoard gets what the logs of a run hold, once, and the run does not notice."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting import tensorboard_log, train
from gaussian_splatting.errors import SplatError
from gaussian_splatting.rendering.picture_files import encode_picture
from gaussian_splatting.runs.folder import RunFolder

INSTALLED = importlib.util.find_spec("tensorboard") is not None
needs_tensorboard = pytest.mark.skipif(not INSTALLED, reason="TensorBoard is not installed")


def logged(folder: Path, steps: range) -> RunFolder:
    run = RunFolder(folder)
    run.progress.mkdir(parents=True, exist_ok=True)
    for step in steps:
        line = {"step": step, "loss": 1 / step, "losses": {"photometric": 1 / step}, "psnr": None, "num_gaussians": 7}
        with run.metrics.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
    run.progress_picture(steps[-1]).write_bytes(encode_picture(np.full((6, 8, 3), 90, np.uint8), "jpeg"))
    return run


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / tensorboard_log.FOLDER))
    found.Reload()
    return found


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_entry_is_copied_once(tmp_path: Path) -> None:
    run = logged(tmp_path, range(1, 4))
    log = tensorboard_log.TensorBoardLog(run)
    log.update()
    logged(tmp_path, range(4, 6))
    log.close()
    found = events(tmp_path)
    assert [entry.step for entry in found.Scalars("loss/total")] == [1, 2, 3, 4, 5]
    assert found.Scalars("loss/photometric")[1].value == pytest.approx(0.5)
    assert found.Scalars("Gaussians")[0].value == 7
    assert [entry.step for entry in found.Images("progress")] == [3, 5]
    assert "psnr/training view" not in found.Tags()["scalars"]  # without photos there is none


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    run = logged(tmp_path, range(1, 4))
    with tensorboard_log.recording(run, first=2, seconds=0.01):
        logged(tmp_path, range(4, 5))
    assert [entry.step for entry in events(tmp_path).Scalars("loss/total")] == [3, 4]


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_with_it_gives_the_same_bytes(tmp_path: Path, demo_scene: Path) -> None:
    splats = []
    for name, flags in (("with", ["--tensorboard"]), ("without", [])):
        flags = [*flags, "-s", str(demo_scene), "-d", str(tmp_path / name), "-i", "12", "-r", "8", "--quiet"]
        assert train.main([*flags, "--mode", "nodepth-base"]) == 0
        splats.append(RunFolder(tmp_path / name).point_cloud(12).read_bytes())
    assert splats[0] == splats[1]
    assert events(tmp_path / "with").Scalars("loss/total")[-1].step == 12
    assert not (tmp_path / "without" / tensorboard_log.FOLDER).exists()


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_finished_run_is_converted_and_the_old_log_kept(tmp_path: Path, capsys) -> None:
    logged(tmp_path, range(1, 3))
    for _ in range(2):
        assert tensorboard_log.main(["-d", str(tmp_path)]) == 0
    assert "tensorboard.old-1" in capsys.readouterr().out
    assert [entry.step for entry in events(tmp_path).Scalars("loss/total")] == [1, 2]


def test_a_folder_without_logs_is_refused(tmp_path: Path, capsys) -> None:
    assert tensorboard_log.main(["-d", str(tmp_path)]) == 2
    assert "holds no metrics.jsonl" in capsys.readouterr().err


def test_without_the_library_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard_log.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SplatError, match=r'pip install "gaussian-splatting-anywhere\[log\]"'):
        tensorboard_log.require_tensorboard()
