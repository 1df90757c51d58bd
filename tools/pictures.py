"""Take the pictures of the pages: python tools/pictures.py app|console|gallery [--help].

`app` and `console` take screenshots of the pages in Chromium. `gallery CLIP... --out FOLDER` writes
pictures of clips before and after enhancement, with crops.
"""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    if (what := " ".join(sys.argv[1:2])) not in ("app", "console", "gallery"):
        sys.exit(__doc__)
    del sys.argv[1]
    importlib.import_module(f"shown.{what}").main()
