"""Writing files safely: they are made and checked in a temporary folder beside the target, then moved in one step.

Never leaves the folder, never follows a link, never replaces anything without being told to. Knows no format.
"""

from __future__ import annotations

import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimizer.database.sqlite_files import page_size
from optimizer.errors import ExportError

# Device names on Windows, with any extension: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in "0123456789¹²³"
}
SPECIAL = '<>:"/\\|?*'  # separators, and characters with a special meaning on Windows
LONGEST = 255  # most bytes of a name on the usual file systems
CACHE = "__pycache__"  # Python may have left this in an exported folder


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write.

    `folder` must exist; `name` is a plain file name in it, or empty for the default name; `force` allows an existing
    file to be replaced.
    """

    folder: Path
    name: str = ""
    force: bool = False

    def check(self, usual_name: str = "") -> Path:
        """Return the path to write to.

        Raises
        ------
        ExportError
            If the folder does not exist, the name is not a plain file name, or it exists already (without `force`).
        """
        name = self.name or usual_name
        fault = _fault(name)
        if fault:
            such = f" such as {usual_name!r}" if usual_name else ""
            raise ExportError(
                f"file name {name!r}: {fault}; a plain file name is allowed, without a folder. Choose one{such}."
            )
        if not self.folder.is_dir():
            raise ExportError(f"{self.folder}: no such folder; an existing one is needed. Make it, or name another.")
        path = self.folder / name
        _refuse_taken(path, force=self.force)
        return path


def write_bytes(data: bytes, target: Target) -> Path:
    """Write a single file as safely as an export, and return its path.

    Raises
    ------
    ExportError
        As in `Target.check`, and if writing fails; an earlier file is then kept.
    """
    path = target.check()
    with bench(target.folder) as place:
        made = place / path.name
        write(made, data)
        move(made, path, force=target.force)
    return path


def _fault(name: str) -> str:
    if not name:
        return "is empty"
    if name[0] in ".-":
        return f"begins with {name[0]!r}"
    if name[-1] in ". ":
        return f"ends with {name[-1]!r}"
    bad = [c for c in name if c in SPECIAL or unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
    if bad:
        return f"holds {bad[0]!r}"
    if name.split(".", maxsplit=1)[0].rstrip(" ").casefold() in DEVICES:
        return "names a device on Windows"
    return f"is longer than {LONGEST} bytes" if len(name.encode()) > LONGEST else ""


def _refuse_taken(path: Path, *, force: bool) -> None:
    if path.is_file() and page_size(path):
        raise ExportError(f"{path}: is a database, which is never replaced. Choose another name.")
    if os.path.lexists(path) and not force:
        raise ExportError(
            f"{path}: exists already. Choose another name, or allow it to be replaced (--force, force=True)."
        )


@contextmanager
def bench(folder: Path) -> Iterator[Path]:
    """Make a temporary folder beside the target, so that moving is one step; it is removed afterwards."""
    path = folder / f".phrasetune-{secrets.token_hex(8)}"
    with _told(folder):
        path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write(path: Path, content: bytes | str | Mapping[str, str]) -> None:
    """Write a file, or a folder of files, and flush it to disk."""
    with _told(path.parent.parent):
        if isinstance(content, Mapping):
            path.mkdir()
            for name, text in content.items():
                _write_file(path / name, text.encode())
        else:
            _write_file(path, content.encode() if isinstance(content, str) else content)


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def move(made: Path, path: Path, *, force: bool) -> None:
    """Move what was made to its place. If a link is there, the link itself is replaced, never what it points to.

    Raises
    ------
    ExportError
        If something exists there that may not be replaced: anything without `force`, and always a folder that is not an
        earlier export.
    """
    _refuse_taken(path, force=force)
    standing = path.is_dir() and not path.is_symlink()
    with _told(path.parent):
        if standing and not _is_earlier(path, made):
            raise ExportError(
                f"{path}: a folder stands there that is no earlier export; only such a one is replaced. "
                "Choose another name, or move the folder away."
            )
        if made.is_dir() and os.path.lexists(path):
            _exchange(made, path)
        else:
            made.replace(path)


def _is_earlier(path: Path, made: Path) -> bool:
    """Whether a folder contains only files with the names that are written now."""
    names = {file.name for file in made.iterdir()} | {CACHE} if made.is_dir() else set()
    return bool(names) and {file.name for file in path.iterdir()} <= names


def _exchange(made: Path, path: Path) -> None:
    """Move a folder to where something exists, which is removed later with the temporary folder."""
    aside = made.parent / f"{secrets.token_hex(8)}.old"
    path.rename(aside)
    try:
        made.rename(path)
    except OSError:
        aside.rename(path)
        raise


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{folder}: cannot be written ({error.strerror}). Nothing was left behind; "
            "name a folder that you may write to and that has room."
        ) from error
