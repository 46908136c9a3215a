"""Plants bugs in a copy of the package, and proves that a test turns red for each.

    python scripts/mutations.py [WORDS]

Only those whose name, file or tests hold WORDS, if given. The same tests have to be green before.
Prints a table; exit status 1 if a bug survives.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutation import Mutation
from mutations_answer import ANSWER_MUTATIONS
from mutations_batch import BATCH_MUTATIONS
from mutations_check import CHECK_MUTATIONS
from mutations_core import CORE_MUTATIONS
from mutations_ct import CT_MUTATIONS
from mutations_drawn import DRAWN_MUTATIONS
from mutations_face import FACE_MUTATIONS
from mutations_lens import LENS_MUTATIONS
from mutations_motion import MOTION_MUTATIONS
from mutations_mri import MRI_MUTATIONS
from mutations_pipeline import PIPELINE_MUTATIONS
from mutations_reports import REPORT_MUTATIONS
from mutations_serving import SERVING_MUTATIONS
from mutations_specialists import SPECIALIST_MUTATIONS
from mutations_talk import TALK_MUTATIONS
from mutations_variance import VARIANCE_MUTATIONS
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]

MUTATIONS = (
    *CORE_MUTATIONS,
    *DRAWN_MUTATIONS,
    *VARIANCE_MUTATIONS,
    *ANSWER_MUTATIONS,
    *PIPELINE_MUTATIONS,
    *CHECK_MUTATIONS,
    *FACE_MUTATIONS,
    *LENS_MUTATIONS,
    *CT_MUTATIONS,
    *BATCH_MUTATIONS,
    *REPORT_MUTATIONS,
    *SERVING_MUTATIONS,
    *MOTION_MUTATIONS,
    *MRI_MUTATIONS,
    *SPECIALIST_MUTATIONS,
    *TALK_MUTATIONS,
)


def is_red(tests: str, planted: Mutation | None = None) -> bool:
    """Whether these tests fail in a copy of the repository, perhaps with a bug in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("hdagger", "scripts", "tests"):
            shutil.copytree(ROOT / part, copy / part)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if planted is not None:
            file = copy / "hdagger" / planted.file
            text = file.read_text()
            if text.count(planted.right) != 1:
                sys.exit(f"{planted.name}: {planted.right!r} is not once in {planted.file}")
            file.write_text(text.replace(planted.right, planted.wrong))
        file, *chosen = shlex.split(tests)
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", f"tests/{file}", *chosen],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
            capture_output=True,
        ).returncode
    if status not in (0, 1):
        sys.exit(f"{tests}: pytest ended with status {status}")
    return status == 1


def main() -> int:
    table = Table("bug", "file", "tests", "found")
    survivors = 0
    console = Console()
    words = " ".join(sys.argv[1:])
    chosen = [m for m in MUTATIONS if words in f"{m.name} {m.file} {m.tests}"]
    for tests in dict.fromkeys(mutation.tests for mutation in chosen):
        if is_red(tests):
            sys.exit(f"{tests} is red before any bug is planted")
    for mutation in chosen:
        found = is_red(mutation.tests, mutation)
        survivors += not found
        table.add_row(mutation.name, mutation.file, mutation.tests, "yes" if found else "NO")
        Console(stderr=True).print(f"{mutation.name}: {'found' if found else 'SURVIVED'}")
    console.print(table)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
