"""What a run made is packed."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from prefect import flow, task


@task
def pack(name: str, texts: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for file, text in texts.items():
            Path(folder, file).write_text(text)
        made = shutil.make_archive(f"out/{name}", "tar", folder)
    return Path(made).name


@task
def unpacked(data: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        path.write_bytes(data)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        return len(list(Path(folder).iterdir()))


@task
def zipped(texts: dict[str, str]) -> bytes:
    with tempfile.TemporaryFile() as target:
        with zipfile.ZipFile(target, "w") as archive:
            for name, text in texts.items():
                archive.writestr(zipfile.ZipInfo(name), text)
        target.seek(0)
        return target.read()


@flow
def archived():
    texts = {"a.txt": "a", "b.txt": "b"}
    name = pack("archive-ids", texts)
    listed = Path("out", name).exists()
    Path("out", name).unlink()
    return [name, listed, unpacked(zipped(texts))]


def main():
    return archived()
