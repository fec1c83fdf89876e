"""The model server behind Label Studio's pages: every click, box and command comes here, and masks go back.

`app` is the door (FastAPI), `wire` reads what comes in, `answering` sees it through, `desk` keeps who sits at what,
`worker` gives the network to one job after another, `reconcile` finds what people did without telling us.
"""

from __future__ import annotations

from annotation.server.app import create_app
from annotation.server.config import ServerConfig

__all__ = ["ServerConfig", "create_app"]
