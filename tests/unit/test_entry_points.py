"""The two programs, from their very first moment on."""

import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = 130
INTERRUPTS = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize("program", ["consumer", "producer_tools"])
def test_ctrl_c_while_a_program_is_still_being_loaded_ends_it_without_a_word(program: str, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(INTERRUPTS)
    main = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {program}.__main__ import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", main], capture_output=True, text=True, check=False)
    assert (INTERRUPTED, "", "") == (ended.returncode, ended.stdout, ended.stderr)
