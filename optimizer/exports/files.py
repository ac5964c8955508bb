"""Where a file may stand, and how it gets there: made and checked on a bench beside it, then moved in one step.

Never leaves the folder, never follows a link, never replaces what it was not told to. Knows no format.
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
SPECIAL = '<>:"/\\|?*'  # separators and what Windows gives a meaning to
LONGEST = 255  # bytes that a name may have on the usual file systems
CACHE = "__pycache__"  # Python may have left it in a folder of ours


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write.

    `folder` exists; `name` is a plain name in it, or empty where there is a usual one; `force` allows what stands
    there to be replaced.
    """

    folder: Path
    name: str = ""
    force: bool = False

    def check(self, usual_name: str = "") -> Path:
        """Return the path to write to.

        Raises
        ------
        ExportError
            If the folder does not exist, the name is not a plain file name, or something stands there already.
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
    """Write a single file as carefully as an export, and return its path.

    Raises
    ------
    ExportError
        As `Target.check` does, and if writing fails; then what stood there before still does.
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
    """Make a folder to work in, beside the target so that moving is one step; it is gone afterwards."""
    path = folder / f".phrasetune-{secrets.token_hex(8)}"
    with _told(folder):
        path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write(path: Path, content: bytes | str | Mapping[str, str]) -> None:
    """Write a file, or a folder of files, and see it on the disk."""
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
    """Move what was made to its place. A link that stands there is replaced itself, never what it points to.

    Raises
    ------
    ExportError
        If something stands there that may not be replaced: anything without `force`, and always a folder that
        is not an earlier export.
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
    """Whether a folder holds nothing but files of the names that are written now."""
    names = {file.name for file in made.iterdir()} | {CACHE} if made.is_dir() else set()
    return bool(names) and {file.name for file in path.iterdir()} <= names


def _exchange(made: Path, path: Path) -> None:
    """Put a folder in the place of what stands there, which goes with the bench; a folder cannot be written over."""
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
