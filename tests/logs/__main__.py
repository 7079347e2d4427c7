"""Write the golden stories again, and those of docs/FAILURE_DETECTION.md."""

from tests.logs.failure_page import PAGE, filled
from tests.logs.scene import GOLDEN
from tests.logs.test_story import TOLD

GOLDEN.mkdir(exist_ok=True)
for name, tell in TOLD.items():
    (GOLDEN / name).write_text(tell())
    print(name)
PAGE.write_text(filled(PAGE.read_text()))
