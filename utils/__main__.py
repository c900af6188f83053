"""`python3 -m utils …` with any Python, however old: what is too old is told so in one sentence."""

import os
import sys

OLDEST = (3, 11)  # torch 2.15.0 is published for 3.11 and newer

if sys.version_info < OLDEST:
    sys.exit(
        "This course needs Python %d.%d or newer, and this is %d.%d: "
        "start it with a newer one, for example `python3.12 -m utils open`."
        % (OLDEST + tuple(sys.version_info[:2]))
    )

if not __package__:  # started as `python3 path/to/utils open`, from some other folder
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from utils.tools.commands import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
