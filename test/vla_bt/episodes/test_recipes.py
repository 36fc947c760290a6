"""Books of recipes are evenly dealt, depend on seed and sources alone, come back from their file and refuse nonsense."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.episodes.recipes import LABEL_ROOM_M, LEAST_SCALE, Book, Recipe, Source, draw_distance, draw_general, load_book
from vla_bt.episodes.schema import DISTANCES, FRAMES, EpisodeError
from vla_bt.sim import scenes


def made_sources(count: int, standing: int = 6) -> list[Source]:
    return [Source(f"episode_{at}", f"{at:064x}", DISTANCES[at % 3], standing) for at in range(count)]


def test_the_documents_721_and_481_over_72_episodes() -> None:
    sources = made_sources(72)
    general, distance = draw_general(sources, 721, 0), draw_distance(sources, 481, 0)
    assert (len(general.entries), len(distance.entries)) == (721, 481)
    assert set(Counter(at for at, _ in general.entries).values()) == {10, 11}
    assert set(Counter(at for at, _ in distance.entries).values()) == {6, 7}
    for number in range(72):
        assert sum(recipe.mirror for at, recipe in general.entries if at == number) in (5, 6)
    for used in ("blur", "noise", "frames"):
        assert 100 < sum(bool(getattr(recipe, used)) for _, recipe in general.entries) < 400
    assert len({json.dumps(recipe.to_dict()) for _, recipe in general.entries}) == 721


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 2**32))
def test_every_episode_gets_as_many_views_or_one_more(sources: int, count: int, seed: int) -> None:
    book = draw_general(made_sources(sources), count, seed)
    counts = Counter(at for at, _ in book.entries)
    assert sum(counts.values()) == count
    assert max(counts.values(), default=0) - min((counts[at] for at in range(sources)), default=0) <= 1
    assert draw_general(made_sources(sources), count, seed) == book
    for _, recipe in book.entries:
        recipe.check()
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 2**32))
def test_scale_and_distance_label_agree(sources: int, count: int, seed: int) -> None:
    """Scaled by z, a box d metres ahead looks as if it were d / z ahead: that has to be where the label says."""
    made = made_sources(sources)
    for at, recipe in draw_distance(made, count, seed).entries:
        true_m = scenes.DISTANCES[made[at].distance]
        assert recipe.scale >= LEAST_SCALE - 1e-3
        assert abs(true_m / recipe.scale - scenes.DISTANCES[recipe.distance]) <= LABEL_ROOM_M + 1e-3
        nearest = min(scenes.DISTANCES, key=lambda label: abs(true_m / recipe.scale - scenes.DISTANCES[label]))
        assert nearest == recipe.distance
        assert not recipe.mirror


def test_every_label_within_reach_gets_its_turn() -> None:
    entries = draw_distance(made_sources(3), 90, 0).entries
    found = {label: Counter(recipe.distance for at, recipe in entries if at == number) for number, label in enumerate(DISTANCES)}
    assert found["close"] == {"close": 30}
    assert found["medium"] == {"close": 15, "medium": 15}
    assert found["far"] == {"close": 10, "medium": 10, "far": 10}


def test_distance_needs_a_labelled_episode() -> None:
    with pytest.raises(EpisodeError, match="no episode tells its distance"):
        draw_distance([Source("a", "0" * 64)], 3, 0)
    mixed = [Source("a", "0" * 64), Source("b", "1" * 64, "far")]
    assert {at for at, _ in draw_distance(mixed, 5, 0).entries} == {1}


def test_time_jitter_leaves_out_driving_frames_and_stands_longer() -> None:
    jittered = [recipe.frames for _, recipe in draw_general(made_sources(4), 400, 1).entries if recipe.frames]
    for frames in jittered:
        assert len(frames) == FRAMES
        assert frames[0] == 0
        assert list(frames) == sorted(frames)
        missing = set(range(FRAMES)) - set(frames)
        assert 1 <= len(missing) <= 2
        assert max(missing) < FRAMES - 6  # the robot still drove there
        assert frames.count(FRAMES - 1) == 1 + len(missing)
    assert not any(recipe.frames for _, recipe in draw_general(made_sources(4, standing=0), 400, 1).entries)


def test_a_book_comes_back_from_its_file(tmp_path: Path) -> None:
    book = draw_general(made_sources(5), 40, 3)
    path = book.save(tmp_path / "general.recipes.json")
    assert load_book(path) == book
    assert path.stat().st_size < 40 * 400
    assert [name.name for name in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"version": 9}, "version 9; this program reads 1"),
        ({"sources": [{"name": "../../etc/passwd", "sha256": "0" * 64}]}, "no plain name"),
        ({"sources": [{"name": "fine", "sha256": "zz"}]}, "no SHA-256"),
        ({"sources": [{"name": "fine", "sha256": "0" * 64, "path": "/"}]}, "unexpected keyword argument 'path'"),
        ({"recipes": [{"source": 7, "kind": "general"}]}, "a recipe's source is 7; there are 1"),
        ({"recipes": [{"source": 0, "kind": "odd"}]}, "kind is 'odd'; known: general, distance"),
        ({"recipes": [{"source": 0, "kind": "general", "scale": 1e9}]}, "scale is 1000000000.0; expected 1 to 4"),
        ({"recipes": [{"source": 0, "kind": "general", "scale": "big"}]}, "something else than numbers"),
        ({"recipes": [{"source": 0, "kind": "general", "noise": float("nan")}]}, "noise is nan; expected 0 to 255"),
        ({"recipes": [{"source": 0, "kind": "general", "frames": [0, 99]}]}, "frames are (0, 99)"),
        ({"recipes": [{"source": 0, "kind": "general", "colour": [1, 2]}]}, "colour is (1, 2); expected three"),
        ({"recipes": [{"source": 0, "kind": "general", "shear": 1}]}, "unknown word 'shear'"),
        ({"recipes": [[]]}, "no book of recipes"),
        ({"recipes": 5}, "no book of recipes"),
    ],
)
def test_nonsense_is_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    fine = {"version": 1, "kind": "general", "seed": 0, "sources": [{"name": "fine", "sha256": "0" * 64}], "recipes": []}
    path = tmp_path / "bad.recipes.json"
    path.write_text(json.dumps({**fine, **change}))
    with pytest.raises(EpisodeError) as caught:
        load_book(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_json_is_one_line(tmp_path: Path) -> None:
    for text in ("", "{", "[]", "[" * 100_000, "null"):
        path = tmp_path / "bad.recipes.json"
        path.write_text(text)
        with pytest.raises(EpisodeError, match="no book of recipes"):
            load_book(path)
    with pytest.raises(EpisodeError, match="No such file"):
        load_book(tmp_path / "none")


def test_an_empty_book() -> None:
    assert draw_distance([], 0, 0) == Book("distance", 0, (), ())
    with pytest.raises(EpisodeError, match="no complete episode"):
        draw_general([], 3, 0)
