"""The comparison of recipes: one real run per cell, nothing done twice, medians and ratios, a plot that is XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import compare_recipes
import pytest
import recipe_table
from small_run import make_scene, splat

SVG = "{http://www.w3.org/2000/svg}"


def result(scene: str, recipe: str, seed: int, **values) -> dict:
    plain = {"psnr": 30.0, "ssim": 0.9, "seconds": 100.0, "cpu_seconds": 150.0, "gaussians": 1000, "iterations": 2000}
    return plain | {"scene": scene, "recipe": recipe, "seed": seed} | values


def three_seeds() -> list[dict]:
    slow = [result("fox", "slow", seed, psnr=30 + seed / 10) for seed in range(3)]
    fast = [result("fox", "fast", seed, psnr=31 + seed / 10, seconds=20.0 + seed, gaussians=500) for seed in range(3)]
    return slow + fast


def test_the_table_has_medians_spreads_and_shares_of_the_first_recipe():
    lines = recipe_table.table(three_seeds()).splitlines()
    assert (
        lines[2] == "| fox | slow | 2000 | 3 | 30.10 | 30.00 to 30.20 | 0.9000 | 1000 | 100.0 | 1.00x | 150.0 | 1.00x |"
    )
    assert (
        lines[3] == "| fox | fast | 2000 | 3 | 31.10 | 31.00 to 31.20 | 0.9000 | 500 | 21.0 | 0.21x | 150.0 | 1.00x |"
    )


def test_a_share_needs_the_same_seed_of_the_reference():
    lines = recipe_table.table([result("fox", "slow", 0), result("fox", "fast", 1, seconds=20.0)]).splitlines()
    assert "| 20.0 | - | 150.0 | - |" in lines[3]


def test_the_plot_is_xml_with_a_dot_per_result_and_per_recipe():
    root = ElementTree.fromstring(recipe_table.plot([*three_seeds(), result("a & b", "slow", 0)]))
    assert len(root.findall(f".//{SVG}circle")) == 6 + 2 + 1 + 1
    assert "a & b" in [text.text for text in root.iter(f"{SVG}text")]


def test_better_and_faster_lies_higher_and_further_left():
    x, y = recipe_table.log_axis([10, 100]), recipe_table.padded([30, 31])
    (left, high), (right, low) = recipe_table.place(10, 31, x, y), recipe_table.place(100, 30, x, y)
    assert left < right
    assert high < low


def test_an_entry_is_a_name_and_words():
    entry = compare_recipes.Entry.parse("lego=data/lego -w")
    assert (entry.name, entry.words) == ("lego", ("data/lego", "-w"))
    for wrong in ("lego", "=x", "a b=x", "a/b=x", "lego="):
        with pytest.raises(Exception, match="expected NAME=WORDS"):
            compare_recipes.Entry.parse(wrong)


def test_a_torn_line_is_no_result(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(result("fox", "fast", 0)) + '\n{"scene": "fo', encoding="utf-8")
    assert [one["recipe"] for one in compare_recipes.stored(path)] == ["fast"]


def test_cells_run_once_and_the_rest_later(tmp_path: Path, capsys):
    scene = make_scene(tmp_path / "scene", splat())
    out = tmp_path / "out"
    call = ["--out", str(out), "--threads", "1", "--scene", f"ring={scene}"]
    short = "-i 3 --backend reference"
    assert compare_recipes.main([*call, "--recipe", f"fast=--preset fast {short}"]) == 0
    first = (out / "results.jsonl").read_text()
    more = ["--recipe", f"fast=--preset fast {short}", "--recipe", f"base=--mode base {short}"]
    assert compare_recipes.main([*call, *more]) == 0
    lines = (out / "results.jsonl").read_text()
    assert lines.startswith(first)
    assert [json.loads(line)["recipe"] for line in lines.splitlines()] == ["fast", "base"]
    assert json.loads(lines.splitlines()[0])["iterations"] == 3
    assert "1/1 ring base 0: " in capsys.readouterr().out
    assert (out / "table.md").read_text().count("| ring |") == 2
    assert (out / "plot.svg").is_file()


def test_a_failed_run_ends_with_its_error_and_keeps_the_others(tmp_path: Path):
    out = ["--out", str(tmp_path / "out"), "--recipe", "fast=--preset fast -i 1"]
    with pytest.raises(SystemExit, match="ended with status 2:"):
        compare_recipes.main([*out, "--scene", f"none={tmp_path / 'nowhere'}"])
    with pytest.raises(SystemExit, match="two entries have one name: fast, fast"):
        compare_recipes.main([*out, "--recipe", "fast=--preset fast"])
