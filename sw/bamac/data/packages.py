"""Debian packages, fetched and unpacked below a cache folder; no root is needed.

``apt-get download`` fetches them, ``dpkg -x`` unpacks them. Of packages that keep their sounds in
an archive, or in a format of their own, only the sounds are kept.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path

from . import talkies

__all__ = ["ARCHIVES", "SourceError", "fetch_packages"]


class SourceError(RuntimeError):
    """Speech material cannot be fetched or holds nothing usable."""


ARCHIVES = {
    "0ad-data": ("usr/share/games/0ad/mods/public/public.zip", "audio/voice/"),
    "nexuiz-data": ("usr/share/games/nexuiz/data/data.pk3", "sound/"),
    "warzone2100-data": ("usr/share/games/warzone2100/base.wz", "audio/"),
    "ufoai-sound": ("usr/share/games/ufoai/base/0snd.pk3", "sound/"),
}
"""Packages that keep their sounds in a zip file: its path, and the folder in it that is wanted.
Nothing else of such a package is unpacked."""


def fetch_packages(packages: Iterable[str], cache: str | Path) -> dict[str, Path]:
    """Download and unpack Debian packages below ``cache``; what is there already is kept."""
    return {package: _fetch_package(package, Path(cache)) for package in packages}


def _fetch_package(package, cache):
    target = cache / "speech" / package
    if target.is_dir():
        return target
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SourceError(f"{tool} is needed to fetch speech packages; on a system "
                              f"without it, train on a folder of your own (--data FOLDER)")
    debs = cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{package}_*.deb")):
        run = subprocess.run(["apt-get", "download", package], cwd=debs,
                             capture_output=True, text=True)
        if run.returncode:
            raise SourceError(f"apt-get download {package} failed: {run.stderr.strip()}")
    deb = sorted(debs.glob(f"{package}_*.deb"))[-1]
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if package in ARCHIVES:
        _unpack_archive(deb, *ARCHIVES[package], partial)
    else:
        subprocess.run(["dpkg", "-x", str(deb), str(partial)], check=True)
    if package in (talkies.QUEEN, talkies.SKY):
        _keep_lines(package, partial, cache)
    partial.rename(target)
    return target


def _keep_lines(package, folder, cache):
    """Of a talking game only its spoken lines, in ``folder / "lines"``."""
    lines = folder / "lines"
    lines.mkdir()
    try:
        if package == talkies.QUEEN:
            talkies.unpack_queen(folder, lines)
        else:
            tools = [_fetch_package(tool, cache) for tool in talkies.SKY_TOOL]
            talkies.unpack_sky(folder, tools, lines)
    except (talkies.TalkieError, OSError) as error:
        raise SourceError(f"The speech of {package} cannot be unpacked: {error}") from error
    if not any(lines.iterdir()):
        raise SourceError(f"The speech of {package} cannot be unpacked: no spoken lines in it")
    shutil.rmtree(folder / "usr")


def _unpack_archive(deb, archive, wanted, target):
    """Unpack into ``target`` one folder of a zip file in a package; remove the package.

    Such packages hold some GB of which a few MB are speech.
    """
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as tar:
        subprocess.run(["tar", "-x", "-C", str(target), f"./{archive}"], stdin=tar.stdout,
                       check=True)
    with zipfile.ZipFile(target / archive) as members:
        members.extractall(target, [name for name in members.namelist()
                                    if name.startswith(wanted)])
    shutil.rmtree(target / Path(archive).parts[0])
    deb.unlink()
