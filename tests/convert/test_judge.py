"""The judgement: each way in which a reconstruction is nonsense or doubtful, and its words."""

from __future__ import annotations

import copy
import re

import pytest

from gaussian_splatting.convert.judge import TURNED, Judgement, judge_matches, judge_model
from gaussian_splatting.convert.photos import Picture

PICTURES = [Picture(f"{number}.jpg", f"photo {number}.jpg", 1000, 750, "a") for number in range(20)]
PAIRS = [{"pair": [f"{a}.jpg", f"{a + 1}.jpg"], "inliers": 100} for a in range(19)]
FEATURES = {picture.file: 3000 for picture in PICTURES}
CAMERA = {
    "model": "OPENCV", "width": 1000, "height": 750, "fx": 900.0, "fy": 905.0, "cx": 500.0, "cy": 375.0, "bogus": False,
}  # fmt: skip


def good(placed: int = 20) -> dict:
    registered = {f"{n}.jpg": {"center": [float(n), 0.0, 0.0], "points": 200, "camera": 1} for n in range(placed)}
    return {
        "models": [placed], "others": [], "registered": registered, "points": 4000, "error": 0.5, "track": 4.0,
        "angle": 12.0, "cameras": {"1": dict(CAMERA)},
    }  # fmt: skip


def judged(facts: dict, pairs: list | None = None, priors: dict | None = None, is_sequence: bool = False) -> Judgement:
    return judge_model(facts, PICTURES, PAIRS if pairs is None else pairs, priors or {}, is_sequence=is_sequence)


def flat(pairs: list) -> list:
    """The pairs as those of a camera that turns: the same picture, moved by nothing."""
    identity = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    return [{**copy.deepcopy(pair), "homography": identity} for pair in pairs]


def test_a_good_model_has_nothing_against_it():
    assert judged(good(), priors={"1": 850.0}) == Judgement()
    assert judged(good(), is_sequence=True) == Judgement()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"error": 3.0},
            r"miss their features by 3\.00 pixels on average .*; another --camera_model",
        ),
        ({"error": float("nan")}, "miss their features by nan pixels"),
        ({"angle": 0.4}, r"rays meet at 0\.40 degrees in the median .*: the camera hardly moved"),
        ({"points": 12}, "only 12 points; the photos need more texture"),
    ],
)
def test_nonsense_is_refused(change, message):
    (fault,) = judged(good() | change).faults
    assert re.search(message, fault)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": 1.6}, "mean reprojection error of 1.60 pixels"),
        ({"angle": 2.0}, "depth is uncertain"),
    ],
)
def test_the_doubtful_is_said(change, message):
    judgement = judged(good() | change)
    assert judgement.faults == () and message in judgement.doubts[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 20_000.0, "fy": 20_000.0}, "a focal length of 20.00 picture sides"),
        ({"bogus": True}, "or a distortion, that no lens has"),
        ({"fx": 500.0}, "fx / fy is 0.55, pixels are square; give a simpler --camera_model"),
        ({"cx": 50.0}, "its axis lies at 0.05, 0.50 of the picture"),
    ],
)
def test_lenses_that_do_not_exist_are_refused(change, message):
    facts = good()
    facts["cameras"]["1"].update(change)
    (fault,) = judged(facts).faults
    assert fault.startswith("camera 1000 x 750 (OPENCV)") and message in fault


def test_an_unused_camera_is_not_judged():
    facts = good()
    facts["cameras"]["2"] = CAMERA | {"fx": 1e6}
    assert judged(facts).faults == ()


def test_a_focal_length_far_from_the_noted_one_and_odd_pixels_are_doubtful():
    assert "900 pixels" not in str(judged(good(), priors={"1": 950.0}).doubts)
    assert "focal length 902 pixels, but the photos note 300" in judged(good(), priors={"1": 300.0}).doubts[0]
    facts = good()
    facts["cameras"]["1"]["fx"] = 1000.0
    assert "fx / fy is 1.105, pixels are usually square" in judged(facts).doubts[0]


def test_few_photos_with_a_pose_are_refused_and_named():
    facts = good(6)
    facts["models"], facts["others"] = [6, 5], [[f"{n}.jpg" for n in range(10, 15)]]
    judgement = judged(facts)
    assert judgement.faults[0].startswith(
        "only 6 of 20 photos have a pose; the rest fell into 1 other parts (5 photos); add photos that connect"
    )
    reasons = dict(judgement.dropped)
    assert len(reasons) == 14
    assert reasons["photo 6.jpg"] == "matches 1 photos, too few points for a pose"
    assert reasons["photo 7.jpg"] == "matches only photos that are left out too"
    assert reasons["photo 10.jpg"] == "belongs to another part, which does not connect"


def test_a_photo_that_matches_nothing_is_dropped_with_a_doubt_only_below_nine_tenths():
    pairs = [pair for pair in PAIRS if "19.jpg" not in pair["pair"]]
    judgement = judged(good(19), pairs)
    assert judgement == Judgement(dropped=(("photo 19.jpg", "matches no other photo"),))
    assert "17 of 20 photos have a pose" in judged(good(17)).doubts[0]


def test_a_leap_of_a_film_is_named():
    facts = good()
    for number in range(10, 20):
        facts["registered"][f"{number}.jpg"]["center"][1] = 50.0
    (doubt,) = judged(facts, is_sequence=True).doubts
    assert "leaps at 1 places (photo 9.jpg to photo 10.jpg)" in doubt
    assert judged(facts).doubts == ()  # photos may lie anywhere
    for number in range(0, 20, 2):
        facts["registered"][f"{number}.jpg"]["center"] = facts["registered"][f"{number + 1}.jpg"]["center"]
    for number in (3, 6, 9):
        facts["registered"][f"{number}.jpg"]["center"] = [0.0, 900.0 * number, 0.0]
    assert "leaps at" in judged(facts, is_sequence=True).faults[0]


def test_turning_on_the_spot_is_the_reason_wherever_it_shows():
    assert judge_matches(PICTURES, FEATURES, flat(PAIRS)).faults == (TURNED,)
    assert judged({"models": []}, flat(PAIRS)).faults == (TURNED,)
    assert TURNED in judged(good() | {"angle": 0.2}, flat(PAIRS)).faults[0]


def test_no_pose_at_all():
    (fault,) = judged({"models": []}).faults
    assert fault.startswith("no pose could be found for any photo, though 19 pairs match")


def test_no_matches_at_all_and_why():
    assert "must overlap by two thirds" in judge_matches(PICTURES, FEATURES, []).faults[0]
    dark = dict.fromkeys(FEATURES, 20)
    assert "they are dark, blurred, or show no texture" in judge_matches(PICTURES, dark, []).faults[0]
    few = judge_matches(PICTURES, FEATURES | {"3.jpg": 20}, PAIRS)
    assert few.faults == () and few.doubts == (
        "1 photos have few features (dark, blurred, or without texture): photo 3.jpg",
    )
