"""The README's example runs as it is written, on small pictures, and its count of skipped tests is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tiny_bundle import write_pictures

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 11
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("images"), each=40)
    write_pictures(Path("new_images"), each=1, seed=1)
    small = example.replace('arch="efficientnet_lite0"', 'arch="resnet20", size=16, epochs=1')
    assert small != example
    exec(compile(small, "README.md", "exec"), {})
    verdict, *answers = capsys.readouterr().out.strip().splitlines()
    assert verdict.startswith("INCONCLUSIVE") and len(answers) == 2


def test_as_many_tests_skip_as_it_says() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    skipping = sum(len(re.findall(r"^def test_\w+\([^)]*\bshared_data\b", source, re.MULTILINE)) for source in sources)
    assert f"{skipping} tests on other real" in README.read_text(encoding="utf-8")
