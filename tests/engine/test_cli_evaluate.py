"""`engine score` and `engine model evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.cli.app import app
from engine.home import EngineHome
from engine.judging.sets import evaluation_set
from engine.judging.suites import SuiteError
from engine.rounds import champion_checkpoint
from qa.errors import EvaluationError
from tests.qa.test_official import GUESS, TRUTH, sav_video


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return sav_video(tmp_path / "truth", TRUTH), sav_video(tmp_path / "guess", GUESS)


class TestScore:
    def test_prints_the_mean_and_the_objects_and_writes_the_table(self, folders):
        result = run("score", *folders)
        assert result.exit_code == 0, result.output
        lines = [line.split() for line in result.output.splitlines()]
        assert ["all", "objects", "2", "58.73", "66.52", "62.62"] in lines
        assert ["sav_000001", "001", "1", "41.67", "34.82", "38.24"] in lines
        assert "results.csv" in result.output.replace("\n", "")
        assert (folders[1] / "results.csv").read_text().splitlines()[
            1
        ] == "Global score,   , 62.6, 58.7, 66.5"

    def test_tells_scripts_everything(self, folders, tmp_path):
        sav_video(folders[0], TRUTH, "unpredicted")
        out = tmp_path / "table.csv"
        found = json.loads(run("score", *folders, "--json", "--out", out, "--processes", "1").output)
        assert found["jf"] == pytest.approx(62.621783578902416, abs=1e-9)
        assert [(each["video"], each["object"]) for each in found["objects"]] == [
            ("sav_000001", "000"),
            ("sav_000001", "001"),
        ]
        assert (found["unpredicted"], found["results"]) == (["unpredicted"], str(out))
        assert out.exists() and not (folders[1] / "results.csv").exists()

    def test_says_what_was_not_scored(self, folders):
        sav_video(folders[0], TRUTH, "unpredicted")
        assert "Not scored: 1 videos" in run("score", *folders).output
        result = run("score", *folders, "--strict")
        assert isinstance(result.exception, EvaluationError) and "unpredicted" in str(result.exception)

    def test_names_the_missing_file(self, folders):
        (folders[1] / "sav_000001" / "000" / "00012.png").unlink()
        result = run("score", *folders)
        assert isinstance(result.exception, EvaluationError)
        assert "sav_000001/000/00012.png is missing" in str(result.exception)


class TestModelEvaluate:
    def test_by_every_protocol(self, home: EngineHome):
        names = ["mask", "online", "copy-first-mask"]
        options = [part for name in names for part in ("--protocol", name)]
        result = run("--home", home.path, "model", "evaluate", "--json", *options)
        assert result.exit_code == 0, result.exception
        found = json.loads(result.output)
        assert sorted(found) == sorted(names)
        for name in names:
            score = found[name]
            assert score["objects"] == 3
            assert (score["low"], score["high"], score["drawn"]) == (None, None, None)
            assert set(score["groups"]) == {"small", "stays"}
        assert [step["frames"] for step in found["online"]["curve"]] == list(range(1, 9))
        assert found["online"]["curve"][0]["seconds"] == pytest.approx(5.5 + 30 * 4 / 300, abs=0.1)
        assert "curve" not in found["mask"]

    def test_tables_for_people(self, home: EngineHome):
        result = run("--home", home.path, "model", "evaluate", "--protocol", "mask", "--groups")
        assert "95 % interval" in result.output and "none: fewer than 5 objects" in result.output
        assert "small" in result.output and "stays" in result.output

    def test_a_suite_has_baselines_beside_it_and_needs_no_home(
        self, home: EngineHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_checkpoint: Path
    ):
        videos = evaluation_set(home)
        monkeypatch.setattr(
            "engine.judging.suites.suite_videos", lambda name: videos if name == "drawn" else []
        )
        arguments = ("evaluate", micro_checkpoint, "--suite", "drawn", "--protocol", "mask", "--json")
        result = run("--home", tmp_path / "nowhere", "model", *arguments)
        assert result.exit_code == 0, result.exception
        assert set(json.loads(result.stdout)) == {"mask", "copy-first-mask", "nearest-colour"}
        assert "The suite drawn is not as it was frozen" in result.stderr

    def test_everything_is_written_into_a_folder(self, home: EngineHome, tmp_path: Path):
        out = tmp_path / "scores"
        result = run("--home", home.path, "model", "evaluate", "--protocol", "mask", "--out", out)
        assert result.exit_code == 0, result.exception
        (video,) = evaluation_set(home)
        names = {"evaluation.md", "evaluation.json", f"{video.video_id}-mask.png"}
        assert {path.name for path in out.iterdir()} == names
        assert "Wrote 3 files" in result.output
        found = json.loads((out / "evaluation.json").read_text())
        assert found["checkpoint"] == champion_checkpoint(home)
        assert (found["frozen"], found["pictures"]["objects"]) == (None, 3)

    def test_an_unknown_suite_is_refused(self, tmp_path: Path):
        result = run("--home", tmp_path / "nowhere", "model", "evaluate", "--suite", "cats")
        assert isinstance(result.exception, SuiteError) and "drawn, cho" in str(result.exception)

    def test_an_unknown_protocol_is_refused(self, home: EngineHome):
        result = run("--home", home.path, "model", "evaluate", "--protocol", "clicks")
        assert isinstance(result.exception, EvaluationError)
        assert "use mask, box" in str(result.exception) and "offline" in str(result.exception)
