"""The README's tests of its module are true."""

from __future__ import annotations

import re
from pathlib import Path

from tests.testing.test_pytest_plugin import run

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_s_tests_pass(tmp_path: Path) -> None:
    text = README.read_text()
    module, tests = (
        next(re.finditer(r"```python\n(.*?)```", text.partition(f"\n## {title}\n")[2], re.DOTALL))[1]
        for title in ("A module", "Testing a module")
    )
    (tmp_path / "hello.py").write_text(module)
    (tmp_path / "test_hello.py").write_text(tests)
    done = run(tmp_path)
    assert "3 passed" in done.stdout, done.stdout
