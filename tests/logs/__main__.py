"""Write the golden stories again."""

from tests.logs.scene import GOLDEN
from tests.logs.test_story import TOLD

GOLDEN.mkdir(exist_ok=True)
for name, tell in TOLD.items():
    (GOLDEN / name).write_text(tell())
    print(name)
