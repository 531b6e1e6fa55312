"""`make reports`: the list of reports, their index, and what happens when one fails."""

import importlib.util
import sys

import pytest

from bamac.cli.main import root
from benchmarks import report_list, reports
from benchmarks.report_index import index_text
from benchmarks.report_list import FOLDER, REPORTS, ROOT, Report
from benchmarks.report_times import add_all, add_report, machine, read_times


def test_every_report_has_a_command_that_exists_and_sources_that_are_there():
    assert len({r.name for r in REPORTS}) == len({r.path for r in REPORTS}) == len(REPORTS)
    for report in REPORTS:
        for first, *rest in (*report.before, report.command):
            if first == "bamac":
                command = root.get_command(None, rest[0])
                known = {option for p in command.params for option in p.opts}
                assert {word for word in rest if word.startswith("-")} <= known, report.name
            else:
                assert (first, rest[0]) == ("python", "-m")
                assert importlib.util.find_spec(rest[1]), report.name
        for pattern in report.sources:
            assert any(ROOT.glob(pattern)), (report.name, pattern)


def test_every_report_in_the_folder_is_in_the_list():
    made = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.md")}
    assert made - {"README.md"} <= {report.path for report in REPORTS}


def test_the_index_has_a_row_for_each_and_says_what_is_not_made(monkeypatch):
    extra = Report("new", "new.md", "something new", ("bamac", "demo"), ("Makefile",))
    monkeypatch.setattr("benchmarks.report_index.REPORTS", (REPORTS[0], extra))
    text = index_text()
    assert "| [front-end.md](front-end.md) | time of features" in text
    assert "| new.md | something new | `bamac demo` | not made yet | - |" in text


def test_times_are_kept_and_stand_in_the_index(tmp_path, monkeypatch):
    path = tmp_path / "minutes.json"
    extra = Report("new", "new.md", "something new", ("bamac", "demo"), ("Makefile",))
    monkeypatch.setattr("benchmarks.report_index.REPORTS", (extra,))
    monkeypatch.setattr("benchmarks.report_times.REPORTS", (extra, REPORTS[0]))
    monkeypatch.setattr("benchmarks.report_index.read_times", lambda: read_times(path))
    assert "Minutes:" not in index_text()
    add_report("new", 6.54, path)
    add_report("old", 1, path)
    add_all({"new": 6.54}, 7.0, path)
    assert "| not made yet | 6.5 |" in index_text() and machine() in index_text()
    assert "All in one run" not in index_text()
    add_all({"new": 6.54, REPORTS[0].name: 2.0}, 7.6, path)
    assert "**8 minutes**" in index_text()
    path.write_text("{damaged")
    assert read_times(path) == {"reports": {}, "all": None}


def test_the_index_says_which_reports_are_of_another_gateware(tmp_path, monkeypatch):
    path = tmp_path / "minutes.json"
    (tmp_path / "new.md").write_text("Made on 2026-01-02")
    reports_of = {"of-gateware": ("hw/bamac_hw/*.py",), "of-software": ("Makefile",)}
    monkeypatch.setattr("benchmarks.report_index.FOLDER", tmp_path)
    monkeypatch.setattr("benchmarks.report_index.REPORTS", tuple(
        Report(name, "new.md", "new", ("bamac", "demo"), sources)
        for name, sources in reports_of.items()))
    monkeypatch.setattr("benchmarks.report_index.read_times", lambda: read_times(path))
    for name in reports_of:
        add_report(name, 1, path)
    assert index_text().count("| 2026-01-02 | 1") == 2
    monkeypatch.setattr("benchmarks.report_index.gateware", lambda: "another")
    assert index_text().count("| 2026-01-02; the gateware has changed since | 1") == 1
    assert index_text().count("| 2026-01-02 | 1") == 1


def test_files_that_are_not_kept_are_removed_and_the_report_says_so(tmp_path):
    pytest.importorskip("doit")
    out = tmp_path / "one.md"
    for name in ("kept.png", "a-1.png", "a-2.png", "one.csv"):
        (tmp_path / name).write_text("x")
    text = "![Kept](kept.png)\\n\\n![First (kB)](a-1.png)\\nSee `one.csv`.\\n"
    report = Report("one", str(out), "", ("python", "-c", f"open({str(out)!r}, 'w').write('{text}')"
                                          ), ("Makefile",), drops=("a-*.png", "one.csv"))
    assert reports.run([report], database=tmp_path / "db")
    expected = ("![Kept](kept.png)\n\n*Figure that the command draws, not kept here: First (kB).*\n"
                "See `one.csv` (not kept here).\n")
    assert out.read_text() == expected
    assert {path.name for path in tmp_path.iterdir()} == {"one.md", "kept.png", "db"}
    reports.drop_files(report)
    assert out.read_text() == expected


def test_the_longest_are_begun_first():
    tasks = [task["basename"] for task in reports._tasks(REPORTS)]
    minutes = {report.name: report.minutes for report in REPORTS}
    assert sorted(tasks) == sorted(minutes)
    assert [minutes[name] for name in tasks] == sorted(minutes.values(), reverse=True)


def _report(name, folder, code):
    """A report whose command is Python code that may use ``out``, the report's path."""
    out = folder / f"{name}.md"
    return Report(name, str(out), name, ("python", "-c", f"out = {str(out)!r}\n{code}"),
                  ("Makefile",))


def test_a_failing_report_is_named_and_the_others_are_made(tmp_path, capfd):
    pytest.importorskip("doit")
    log = tmp_path / "log"
    write = f"open(out, 'w').write('x'); open({str(log)!r}, 'a').write('x')"
    chosen = [_report("first", tmp_path, "raise SystemExit('it broke here')"),
              _report("second", tmp_path, write)]
    took = {}
    assert not reports.run(chosen, database=tmp_path / "db", on_made=took.__setitem__)
    assert list(took) == ["second"] and 0 < took["second"] < 1
    printed = capfd.readouterr()
    assert "FAILED" in printed.out and "first" in printed.out
    assert "it broke here" in printed.out + printed.err
    assert (tmp_path / "second.md").read_text() == "x" and log.read_text() == "x"
    # The one that was made is kept, the other is tried again
    assert not reports.run(chosen, database=tmp_path / "db")
    assert log.read_text() == "x" and "kept" in capfd.readouterr().out
    chosen[0] = _report("first", tmp_path, write)
    assert reports.run(chosen, database=tmp_path / "db") and log.read_text() == "xx"
    assert reports.run(chosen, force=True, database=tmp_path / "db") and log.read_text() == "xxxx"


def test_changed_sources_make_a_report_again(tmp_path, monkeypatch):
    pytest.importorskip("doit")
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setattr(reports, "FOLDER", tmp_path)
    (tmp_path / "source.txt").write_text("1")
    report = Report("one", "one.md", "", ("python", "-c", "open('one.md', 'a').write('x')"),
                    ("source.txt",))
    for content, expected in (("1", "x"), ("1", "x"), ("2", "xx"), ("2", "xx")):
        (tmp_path / "source.txt").write_text(content)
        assert reports.run([report], database=tmp_path / "db")
        assert (tmp_path / "one.md").read_text() == expected


def test_the_folder_of_the_programs_is_there_in_a_fresh_clone(tmp_path, monkeypatch):
    pytest.importorskip("doit")
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setattr(reports, "FOLDER", tmp_path)
    (tmp_path / "source.txt").write_text("1")
    program = f"{report_list.PROGRAMS}/x.bamac"
    report = Report("one", "one.md", "", ("python", "-c", f"open('one.md', 'w').write(open("
                                          f"{program!r}).read())"), ("source.txt",),
                    before=(("python", "-c", f"open({program!r}, 'w').write('program')"),))
    assert reports.run([report], database=tmp_path / "db")
    assert (tmp_path / "one.md").read_text() == "program"


def test_reports_wait_for_those_that_they_read():
    tasks = {task["basename"]: task for task in reports._tasks(report_list.REPORTS)}
    for name in ("tiny", "small", "large"):
        assert set(tasks[name]["file_dep"]) & set(tasks["accuracy"]["targets"])


def test_reports_that_need_the_data_set_are_left_out_without_it(monkeypatch, capsys):
    monkeypatch.setattr(reports, "_has_data", lambda recipe: False)
    monkeypatch.setattr(reports, "run", lambda chosen, **_: pytest.fail(str(chosen)))
    monkeypatch.setattr(reports, "write_index", lambda path: None)
    assert reports.main(["--only", "data"]) == 0
    told = capsys.readouterr().out
    assert "left out: data (it needs the data set: bamac data --data-recipe 6)" in told


def test_commands_are_those_of_this_interpreter():
    commands = report_list.REPORTS[-1].commands
    assert [words[:4] for words in commands] == [[sys.executable, "-m", "bamac", "compile"],
                                                 [sys.executable, "-m", "bamac", "report"]]
