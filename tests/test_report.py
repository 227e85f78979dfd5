"""The report: whole when everything is there, and never a failure when something is not."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting.io.ply import GaussianArrays, write_gaussians
from gaussian_splatting.io.splat import visibility
from gaussian_splatting.rendering.picture_files import encode_picture
from gaussian_splatting.report import write_report
from gaussian_splatting.report.__main__ import main
from gaussian_splatting.report.charts import Series, axis, bucketed, line_chart, round_step, short_number
from gaussian_splatting.report.contact_sheet import Sample, chosen, error_picture, samples
from gaussian_splatting.report.facts import backend, duration, elapsed, rates
from gaussian_splatting.report.films import progress_film, turntable
from gaussian_splatting.report.histograms import bars
from gaussian_splatting.report.page import page
from gaussian_splatting.report.splats import most_visible
from gaussian_splatting.report.top_view import read_cameras, top_view
from gaussian_splatting.runs.folder import RunFolder

VOID = {"meta", "img", "br", "circle", "line", "image", "path", "polyline", "polygon"}


class Balance(HTMLParser):
    """Raises where a tag is closed that was not opened last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def check_html(text: str) -> Balance:
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    outside = [source for source in balance.sources if not source.startswith("data:") and ":" in source]
    assert outside == [], "the report must need nothing from the network"
    assert "<script" not in text
    return balance


def camera_entry(index: int, angle: float) -> dict:
    """A camera on a ring in the xy plane that looks at its middle; z is up."""
    forward = np.array([-math.cos(angle), -math.sin(angle), 0.0])
    right = np.array([-math.sin(angle), math.cos(angle), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    return {
        "id": index, "img_name": f"{index}.jpg", "width": 64, "height": 48, "fx": 60.0, "fy": 60.0,
        "position": (-3 * forward).tolist(), "rotation": rotation.tolist(),
    }  # fmt: skip


def splat(path: Path, num: int = 500) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(num, 14)).astype(np.float32)
    arrays = GaussianArrays(
        values[:, :3], values[:, 3:6].reshape(-1, 1, 3), np.zeros((num, 0, 3), np.float32), values[:, 6:7],
        values[:, 7:10], values[:, 10:14],
    )  # fmt: skip
    write_gaussians(path, arrays)


def full_run(path: Path, steps: int = 60) -> RunFolder:
    folder = RunFolder(path)
    folder.write_settings(
        source="data/<truck>", sh_degree=3, iterations=steps, trainer="BaseTrainer", options={"lambda_dssim": 0.2}
    )
    splat(folder.point_cloud(steps))
    folder.cameras.write_text(json.dumps([camera_entry(index, index * 0.5) for index in range(9)]))
    entries = [{"step": s, "loss": 1 / s, "psnr": 20 + s / 10, "num_gaussians": 500 + s} for s in range(1, steps + 1)]
    folder.metrics.write_text("\n".join(map(json.dumps, entries)))
    times = [{"step": s, "seconds": s / 10, "iterations_per_second": 10.0} for s in range(1, steps + 1)]
    folder.timing.write_text("\n".join(map(json.dumps, times)))
    folder.evaluations.write_text(json.dumps({"step": steps, "psnr": 23.4, "views": 2}))
    rendered_views(folder.rendered(steps), 3)
    folder.progress.mkdir()
    folder.progress_picture(10).write_bytes(encode_picture(np.zeros((48, 64, 3), np.uint8), "jpeg"))
    return folder


def rendered_views(target: Path, count: int) -> None:
    random, details = np.random.default_rng(1), {}
    for name in ("renders", "gt"):
        (target / name).mkdir(parents=True)
    for index in range(count):
        truth = random.integers(0, 255, (48, 64, 3), np.uint8)
        (target / "gt" / f"{index:05d}.png").write_bytes(encode_picture(truth))
        (target / "renders" / f"{index:05d}.png").write_bytes(encode_picture(truth // 2))
        (target / "renders" / f"{index:05d}_depth.png").write_bytes(encode_picture(truth))
        details[f"{index:05d}"] = {"psnr": 30.0 - index, "ssim": 0.9, "image": f"{index}.jpg"}
    (target / "per_view.json").write_text(json.dumps(details))
    results = {"psnr": 29.0, "ssim": 0.9, "lpips": None, "views": count, "split": "test"}
    (target / "results.json").write_text(json.dumps(results))
    (target / "cameras.json").write_text(json.dumps([camera_entry(90 + index, index + 0.2) for index in range(count)]))


def test_a_full_run_gives_every_part_and_needs_no_network(tmp_path):
    text = write_report(full_run(tmp_path)).read_text()
    balance = check_html(text)
    for part in ("Progress", "Training", "Views", "Scene from above", "Details", "Files"):
        assert f"<h2>{part}</h2>" in text
    assert "29.00 <small>dB</small></b><span>PSNR, 3 test views" in text
    assert "560" in text and "&lt;truck&gt;" in text and "<truck>" not in text
    assert text.count('class="frustum first"') == 9
    assert text.count('class="frustum second"') == 3
    assert "point_cloud/iteration_60/point_cloud.ply" in balance.sources


def test_views_come_worst_first(tmp_path):
    text = write_report(full_run(tmp_path)).read_text()
    assert re.findall(r"view (\d{5})</span>", text) == ["00002", "00001", "00000"]


@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_of_few_steps_has_a_report(tmp_path, steps):
    check_html(write_report(full_run(tmp_path, steps)).read_text())


def test_an_empty_folder_has_a_report_that_says_so(tmp_path):
    text = write_report(tmp_path).read_text()
    check_html(text)
    assert "holds no logs and no splat yet" in text


@pytest.mark.parametrize(
    "missing",
    ["settings.json", "metrics.jsonl", "timing.jsonl", "evaluations.jsonl", "cameras.json", "ours_60/results.json",
     "ours_60/per_view.json", "ours_60/gt/00001.png", "ours_60/cameras.json",
     "point_cloud/iteration_60/point_cloud.ply"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["absent", "damaged"])
def test_a_missing_or_damaged_part_is_left_out(tmp_path, missing, damage):
    folder = full_run(tmp_path)
    (tmp_path / missing).unlink()
    if damage == "damaged":
        (tmp_path / missing).write_bytes(b'{"a": [\x00\xff')
    text = write_report(folder).read_text()
    check_html(text)
    assert "<h2>Files</h2>" in text


def test_poison_in_the_logs_is_left_out(tmp_path):
    folder = full_run(tmp_path)
    values = [
        {"step": 1, "loss": "high", "psnr": None},
        {"step": 2, "loss": float("nan"), "psnr": 3, "num_gaussians": 5},
    ]
    folder.metrics.write_text("\n".join(map(json.dumps, values)))
    text = page(folder)
    check_html(text)
    assert "nan" not in text.replace("data:image", "").split("</style>")[1].split("base64,")[0].lower()


def test_without_rendered_views_the_held_out_psnr_counts_and_the_command_is_named(tmp_path):
    folder = full_run(tmp_path / "my run")
    for path in sorted(folder.rendered(60).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    text = page(folder)
    assert "23.40 <small>dB</small></b><span>PSNR, held-out views" in text
    for command in ("render", "video"):
        shown = text.partition(f"python -m gaussian_splatting.{command} -d ")[2].partition("</code>")[0]
        assert shlex.split(html.unescape(shown)) == [str(folder.path)]


def test_the_report_of_large_views_stays_small(tmp_path):
    folder = RunFolder(tmp_path)
    random = np.random.default_rng(0)
    for name in ("renders", "gt"):
        (folder.rendered(9) / name).mkdir(parents=True)
        for index in range(20):
            noise = random.integers(0, 255, (600, 900, 3), np.uint8)
            (folder.rendered(9) / name / f"{index:05d}.png").write_bytes(encode_picture(noise))
    assert write_report(folder).stat().st_size < 5_000_000


# Charts


def test_a_chart_draws_finite_points_within_its_frame():
    points = [(float(step), math.sin(step)) for step in range(1000)] + [(1000.0, math.nan), (math.inf, 1.0)]
    svg = line_chart([Series("wave", points)])
    coordinates = [
        float(part)
        for pair in re.search(r'line first" points="([^"]+)', svg).group(1).split()
        for part in pair.split(",")
    ]
    assert len(coordinates) == 2 * 80
    assert min(coordinates) >= 0 and max(coordinates[::2]) <= 520 and max(coordinates[1::2]) <= 230


def test_buckets_keep_the_mean_and_the_spread():
    found = bucketed([(1, 1.0), (2, 3.0), (3, 5.0), (4, 9.0)], most=2)
    assert [(b.x, b.mean, b.low, b.high) for b in found] == [(2, 2.0, 1.0, 3.0), (4, 7.0, 5.0, 9.0)]


@pytest.mark.parametrize("values", [[0, 1], [-3e-7, 4e-7], [1e9, 3e9], [5.0, 5.0], [0.0, 0.0]])
def test_ticks_are_round_and_within_the_axis(values):
    found = axis(values, 4)
    assert 2 <= len(found.ticks) <= 9
    assert all(found.low - 1e-9 * abs(found.low) <= tick <= found.high * (1 + 1e-9) + 1e-12 for tick in found.ticks)


def test_steps_are_round():
    assert [round_step(value) for value in (0.9, 1.7, 6.0, 34.0)] == pytest.approx([1, 2, 5, 50])
    assert [short_number(value) for value in (12, 0.0341, 45_000, 1_234_567, 2_345)] == [
        "12",
        "0.0341",
        "45k",
        "1.23M",
        "2,345",
    ]


def test_labels_of_two_series_stay_clear_of_each_other():
    svg = line_chart([Series("a", [(0, 1.0), (1, 2.0)]), Series("b", [(0, 1.0), (1, 2.01)], dots=True)])
    rows = sorted(float(row) for row in re.findall(r'class="value" x="[\d.]+" y="([\d.]+)"', svg))
    assert rows[1] - rows[0] >= 13.9


# Contact sheet


def test_of_many_views_the_worst_and_some_up_to_the_best_are_chosen():
    every = [Sample(f"{index:05d}", Path(), Path(), Path(), float(index)) for index in range(50)]
    names = [int(sample.name) for sample in chosen(every)]
    assert names[:8] == list(range(8)) and names[-1] == 49 and len(names) == 12
    assert names == sorted(set(names))


def test_the_error_is_bright_where_it_is_large_and_grey_where_masked():
    truth = np.zeros((8, 8, 3), np.uint8)
    render = truth.copy()
    render[:, 4:] = 255
    mask = np.ones((8, 8), np.float32)
    mask[0] = 0
    shown = error_picture(render, truth, mask, 8).astype(int)
    assert shown[4, 6].sum() > 500 > 20 > shown[4, 1].sum()
    assert (shown[0] == (128, 132, 140)).all()


def test_depth_pictures_are_no_views(tmp_path):
    rendered_views(tmp_path, 2)
    assert [sample.name for sample in samples(tmp_path)] == ["00001", "00000"]


# View from above


def test_a_ring_seen_from_above_is_a_ring(tmp_path):
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps([camera_entry(index, index * math.pi / 4) for index in range(8)]))
    svg = top_view(cameras, None)
    tips = np.array([[float(x) for x in tip.split(",")] for tip in re.findall(r'frustum first" points="(\S+)', svg)])
    distances = np.linalg.norm(tips - tips.mean(axis=0), axis=1)
    assert len(tips) == 8
    assert distances.std() < 0.01 * distances.mean()


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_cameras_at_one_place_can_be_drawn(tmp_path, count):
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps([camera_entry(index, 0.0) for index in range(count)]))
    assert top_view(cameras, None).count("<polygon") == count
    assert "nan" not in top_view(cameras, None)


def test_cameras_at_the_end_of_the_world_are_left_out(tmp_path):
    entries = [camera_entry(index, index) for index in range(3)]
    entries[1]["position"] = [1e308, 0, 0]
    (tmp_path / "cameras.json").write_text(json.dumps(entries))
    seen = read_cameras(tmp_path / "cameras.json")
    assert seen is not None and seen.names == ["0.jpg", "2.jpg"]
    assert top_view(tmp_path / "cameras.json", None).count("<polygon") == 2
    assert read_cameras(tmp_path / "absent.json") is None


# Facts


@pytest.mark.parametrize(
    ("seconds", "text"), [(42.31, "42.3 s"), (727, "12:07 min"), (11_051, "3:04:11 h"), (95, "1:35 min")]
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_rates_are_those_between_two_entries():
    timing = [{"step": step, "seconds": seconds} for step, seconds in ((10, 2.0), (20, 3.0), (30, 1.0), (40, 6.0))]
    assert rates(timing) == [(10, 5.0), (20, 10.0), (40, 2.0)]
    assert rates([{"step": 1, "iterations_per_second": 7.0}]) == [(1.0, 7.0)]


@pytest.mark.parametrize(
    ("name", "device", "text"),
    [("auto", "cpu", "cpu"), ("auto", "cuda:0", "gsplat on cuda:0"), ("x", "cpu", "x on cpu")],
)
def test_the_backend_is_named(name, device, text):
    assert backend({"backend": name, "device": device}) == text


def test_the_report_can_be_written_again_from_the_command_line(tmp_path, capsys):
    full_run(tmp_path)
    assert main(["-d", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert main(["-d", str(tmp_path / "none")]) == 2
    (tmp_path / "photos").mkdir()
    assert main(["-d", str(tmp_path / "photos")]) == 2
    assert list((tmp_path / "photos").iterdir()) == []
    assert "there is no such folder" in capsys.readouterr().err


def test_the_clock_of_a_resumed_run_is_added_up():
    assert elapsed([{"step": step, "seconds": value} for step, value in enumerate([1.0, 5.0, 2.0, 4.0])]) == 9.0
    assert elapsed([]) is None


# Films, histograms, viewer


def test_the_splat_can_be_looked_at_in_a_frame_shut_off_from_the_page(tmp_path):
    text = page(full_run(tmp_path))
    assert 'sandbox="allow-scripts"' in text and "allow-same-origin" not in text
    frame = re.search(r'srcdoc="([^"]+)"', text)
    assert frame is not None and "NGSP" not in frame[1]
    assert html.unescape(frame[1]).startswith("<!DOCTYPE html>")


def test_only_the_most_visible_gaussians_are_in_the_page():
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 14)).astype(np.float32)
    gaussians = GaussianArrays(
        values[:, :3], values[:, None, 3:6], np.ones((50, 15, 3), np.float32), values[:, 6:7], values[:, 7:10],
        values[:, 10:14],
    )  # fmt: skip
    few = most_visible(gaussians, 20)
    assert (len(few), few.sh_degree) == (20, 1)
    assert visibility(few).min() >= np.sort(visibility(gaussians))[-20]
    assert len(most_visible(gaussians, 50)) == 50


def test_a_histogram_counts_every_value_and_marks_the_median():
    svg = bars(np.concatenate((np.full(10, 0.06), np.full(30, 0.96), [np.nan])), (0.0, 1.0))
    counts = [int(count.replace(",", "")) for count in re.findall(r"<title>([\d,]+) Gaussians", svg)]
    assert sum(counts) == 40 and counts[2] == 10 and counts[38] == 30
    assert "median 0.96" in svg


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, 3.0), np.full(3, np.nan), np.array([1e-30, 1e30])])
def test_a_histogram_of_odd_values_is_drawn(values):
    assert "nan" not in bars(values).lower()


def test_the_progress_pictures_become_a_film(tmp_path):
    from PIL import Image

    folder = full_run(tmp_path)
    for step in (20, 30):
        folder.progress_picture(step).write_bytes(encode_picture(np.full((48, 64, 3), step, np.uint8), "jpeg"))
    paths = list(folder.progress_pictures().values())
    source = re.search(r"base64,([^\"]+)", progress_film(paths))
    assert source is not None
    with Image.open(io.BytesIO(base64.b64decode(source[1]))) as film:
        assert film.n_frames == len(paths) > 1
    assert progress_film(paths[:1]) == ""
    paths[0].write_bytes(b"damaged")
    assert progress_film(paths[:2]) == ""


def test_the_newest_turntable_is_shown_and_a_large_one_linked(tmp_path):
    folder = full_run(tmp_path)
    assert "python -m gaussian_splatting.video -d" in turntable(folder)
    (tmp_path / "orbit_60.mp4").write_bytes(b"film")
    assert f'src="data:video/mp4;base64,{base64.b64encode(b"film").decode()}"' in turntable(folder)
    (tmp_path / "orbit_60.mp4").write_bytes(bytes(8_000_001))
    assert '<a href="orbit_60.mp4">' in turntable(folder)
