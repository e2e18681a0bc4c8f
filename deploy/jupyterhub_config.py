"""JupyterHub for one class on one machine; README.md beside this file says how to use it.

Everything the hub writes lies in one folder, /var/lib/movable-derivations or $HUB_STATE: the database, the passwords
as hashes, the cookie secret, and ``class.txt``, which the lecturer writes: a name a line, "*" before an administrator.
"""

import os
import sys
from pathlib import Path

from firstuseauthenticator import FirstUseAuthenticator
from jupyterhub.auth import LocalAuthenticator

ROOT = Path(__file__).resolve().parents[1]
STATE = Path(os.environ.get("HUB_STATE", "/var/lib/movable-derivations"))
NAMES = [line.strip() for line in (STATE / "class.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
if not NAMES:  # nobody named would mean everybody
    raise ValueError(f"{STATE}/class.txt must name at least one member of the class")


class ClassAuthenticator(FirstUseAuthenticator, LocalAuthenticator):
    """Whoever is in the class chooses a password at the first login and gets a Unix account of that name."""


c = get_config()  # noqa: F821

# ---------------------------------------------------------------- who
c.JupyterHub.authenticator_class = ClassAuthenticator
c.ClassAuthenticator.create_users = False  # nobody but the class
c.ClassAuthenticator.create_system_users = True
c.ClassAuthenticator.min_password_length = 8
c.ClassAuthenticator.dbm_path = str(STATE / "passwords.dbm")
c.Authenticator.allowed_users = {name.lstrip("*").strip() for name in NAMES}
c.Authenticator.admin_users = {name.lstrip("*").strip() for name in NAMES if name.startswith("*")}

# ---------------------------------------------------------------- where
c.JupyterHub.bind_url = os.environ.get("HUB_URL", "http://127.0.0.1:8000")  # only from this machine: see TLS in README
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")
c.ConfigurableHTTPProxy.command = [str(ROOT / ".venv/node_modules/.bin/configurable-http-proxy")]

# ---------------------------------------------------------------- what each student gets
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = [sys.executable, str(ROOT / "deploy/student_server.py")]
c.Spawner.notebook_dir = "~"
c.Spawner.default_url = "/lab/tree/movable-derivations/notebooks/00_start_here.ipynb"
c.Spawner.mem_limit = os.environ.get("HUB_MEMORY", "2G")  # of each process; student_server.py sets it
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}  # more threads would only make the students wait for each other
# Extensions that these notebooks do not use cost each student's server a third of its memory.
UNUSED = ["jupyter_lsp", "jupyterlab_jupytext", "nbgrader", "notebook", "notebook_shim"]
UNUSED += [
    f"nbgrader.server_extensions.{name}"
    for name in ("assignment_list", "course_list", "formgrader", "validate_assignment")
]
c.Spawner.args = [
    f"--ServerApp.jpserver_extensions={dict.fromkeys(UNUSED, False)}",
    "--LabApp.extension_manager=readonly",
    "--MappingKernelManager.cull_idle_timeout=3600",  # a kernel that nobody has used for an hour …
    "--MappingKernelManager.cull_connected=True",  # … even where its page is still open
    "--MappingKernelManager.cull_interval=300",
]
c.Spawner.start_timeout = 120  # thirty students arrive at once
c.Spawner.http_timeout = 120

# ---------------------------------------------------------------- servers left behind are stopped
c.JupyterHub.load_roles = [
    {
        "name": "culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["culler"],
    }
]
c.JupyterHub.services = [
    {"name": "culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=7200"]}
]
