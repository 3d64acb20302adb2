"""The judge's reading of pictures, for the tests of this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from judge import png  # noqa: E402,F401 # after the path
