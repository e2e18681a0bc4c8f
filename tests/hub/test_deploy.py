"""The class on one machine: its configuration, a student's server, and the values for more than one machine."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jupyterhub.app
import pytest
import yaml
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from jupyterhub.auth import Authenticator
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.scopes import scope_definitions
from jupyterhub.spawner import Spawner
from jupyterlab.labapp import LabApp
from traitlets.config.loader import PyFileConfigLoader

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
VALUES = yaml.safe_load((DEPLOY / "values.yaml").read_text(encoding="utf-8"))


def module(name):
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


student_server, check_values = module("student_server"), module("check_values")


@pytest.fixture
def config(tmp_path, monkeypatch):
    (tmp_path / "class.txt").write_text("*lecturer\nanna\n\n  ben \n")
    monkeypatch.setenv("HUB_STATE", str(tmp_path))
    return PyFileConfigLoader(str(DEPLOY / "jupyterhub_config.py")).load_config()


def arguments(config):
    return dict(argument.removeprefix("--").split("=", 1) for argument in config.Spawner.args)


def gigabytes(text):
    return float(text[:-1]) * {"M": 2**-10, "G": 1}[text[-1]]


class TestConfiguration:
    def test_every_setting_exists(self, config):
        """A misspelt setting is ignored in silence by traitlets."""
        classes = [jupyterhub.app.JupyterHub, Authenticator, Spawner, ConfigurableHTTPProxy]
        known = {one.__name__: one for one in [*classes, config.JupyterHub.authenticator_class]}
        assert len(config) == 5
        for section, settings in config.items():
            assert settings.keys() <= known[section].class_traits(config=True).keys(), section
        known = {one.__name__: one for one in (ServerApp, LabApp, MappingKernelManager)}
        for name in arguments(config):
            section, setting = name.split(".")
            assert setting in known[section].class_traits(config=True), name

    def test_the_class_and_nobody_else(self, config):
        assert config.Authenticator.allowed_users == {"lecturer", "anna", "ben"}
        assert config.Authenticator.admin_users == {"lecturer"}
        authenticator = config.JupyterHub.authenticator_class(config=config)
        assert not authenticator.allow_all
        assert not authenticator.create_users
        assert authenticator.check_allowed("anna")
        assert not authenticator.check_allowed("mallory")

    def test_without_a_class_it_does_not_start(self, tmp_path, monkeypatch):
        """With no name in the list FirstUseAuthenticator would let everybody in."""
        monkeypatch.setenv("HUB_STATE", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=r"class\.txt"):
            PyFileConfigLoader(str(DEPLOY / "jupyterhub_config.py")).load_config()
        (tmp_path / "class.txt").write_text("\n")
        with pytest.raises(ValueError, match=r"class\.txt must name at least one"):
            PyFileConfigLoader(str(DEPLOY / "jupyterhub_config.py")).load_config()

    def test_all_it_writes_lies_in_one_folder(self, config, tmp_path):
        for path in (
            config.ClassAuthenticator.dbm_path,
            config.JupyterHub.db_url.removeprefix("sqlite:///"),
            config.JupyterHub.cookie_secret_file,
            config.ConfigurableHTTPProxy.pid_file,
        ):
            assert Path(path).parent == tmp_path

    def test_only_this_machine_reaches_it_before_tls(self, config):
        assert config.JupyterHub.bind_url.startswith("http://127.0.0.1:")

    def test_the_culler_may_do_what_it_must(self, config):
        (role,) = config.JupyterHub.load_roles
        assert {"list:users", "read:users:activity", "read:servers", "delete:servers"} == set(role["scopes"])
        assert set(role["scopes"]) <= scope_definitions.keys()
        (service,) = config.JupyterHub.services
        assert role["services"] == [service["name"]]
        assert importlib.util.find_spec(service["command"][2])

    def test_the_start_page_is_one_that_students_get(self, config):
        assert config.Spawner.default_url.startswith("/lab/tree/")
        page = config.Spawner.default_url.removeprefix("/lab/tree/")
        source, target = next((s, t) for s, t in student_server.COPIES.items() if page.startswith(t))
        assert (ROOT / "notebooks" / Path(page).name).is_file()
        assert source.endswith(target)
        assert config.Spawner.cmd[1] == str(DEPLOY / "student_server.py")

    def test_the_values_for_kubernetes_say_the_same(self, config):
        single = VALUES["singleuser"]
        kernels = single["extraFiles"]["kernels"]["data"]["MappingKernelManager"]
        ours = {name.split(".")[1]: value for name, value in arguments(config).items() if "KernelManager" in name}
        assert ours == {name: str(value) for name, value in kernels.items()}
        assert single["defaultUrl"] == config.Spawner.default_url
        assert single["memory"]["limit"] == config.Spawner.mem_limit
        assert single["extraEnv"] == config.Spawner.environment
        assert f"--timeout={VALUES['cull']['timeout']}" in config.JupyterHub.services[0]["command"]
        assert VALUES["hub"]["config"]["FirstUseAuthenticator"]["create_users"] is False


class TestStudentsServer:
    def test_new_files_are_copied_and_a_students_own_are_left_alone(self, tmp_path):
        source, target = next(iter(student_server.COPIES.items()))
        (tmp_path / source / "sub").mkdir(parents=True)
        for name in ("old.ipynb", "sub/new.ipynb"):
            (tmp_path / source / name).write_text("theirs")
        home = tmp_path / "home"
        (home / target).mkdir(parents=True)
        (home / target / "old.ipynb").write_text("mine")
        assert student_server.copy_what_is_new(home, tmp_path) == [home / target / "sub/new.ipynb"]
        assert (home / target / "old.ipynb").read_text() == "mine"
        assert (home / target / "sub/new.ipynb").read_text() == "theirs"
        assert student_server.copy_what_is_new(home, tmp_path) == []

    def test_no_solution_is_copied(self):
        copied = "\n".join(student_server.COPIES)
        assert "build/student" in copied
        assert not re.search(r"^(notebooks|\.)?$|solutions", copied, re.MULTILINE)

    def test_it_becomes_jupyterhubs_own_server_within_the_limit(self, tmp_path):
        """The memory is limited before the server is loaded, and the slow optional package is left out."""
        code = (
            "import runpy, sys, resource; runpy.run_module = lambda *a, **k: print(a, resource.getrlimit("
            "resource.RLIMIT_DATA), sys.modules['rfc3987_syntax']); sys.path.insert(0, sys.argv.pop(1));"
            "path = sys.argv[1]; code = compile(open(path).read(), path, 'exec');"
            "exec(code, {'__name__': '__main__', '__file__': path})"
        )
        environment = os.environ | {"HOME": str(tmp_path), "MEM_LIMIT": str(2**30)}
        done = subprocess.run(
            [sys.executable, "-c", code, str(ROOT), str(DEPLOY / "student_server.py")],
            env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout == f"('jupyterhub.singleuser',) ({2**30}, {2**30}) None\n", done.stderr

    def test_jupyters_events_do_without_the_package_that_is_left_out(self):
        code = (
            "import sys; sys.modules['rfc3987_syntax'] = None\n"
            "import jsonschema, jupyter_events.logger\n"
            "checks = jsonschema.FormatChecker.checkers\n"
            "assert 'date-time' in checks and 'uri' in checks and 'iri' not in checks"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_beyond_the_limit_python_says_so(self):
        code = (
            f"import sys; sys.path.insert(0, {str(DEPLOY)!r}); import student_server\n"
            "student_server.limit_memory({'MEM_LIMIT': str(200 * 2**20)}); bytearray(400 * 2**20)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        last = done.stderr.splitlines()[-1:]
        assert last == (["MemoryError"] if sys.platform == "linux" else [])  # the only system that a hub is for
        student_server.limit_memory({})  # without a limit it sets none


class TestValues:
    SCHEMA = (
        "type: object\nadditionalProperties: false\nrequired: [a, b]\n"
        "properties: {a: {type: integer}, b: {type: object}}"
    )

    @pytest.mark.parametrize(
        ("ours", "said"),
        [
            ("b: {y: 2}", []),
            ("a: two", ["a: 'two' is not of type 'integer'"]),
            ("c: 1", ["the whole: Additional properties are not allowed ('c' was unexpected)"]),
        ],
    )
    def test_values_are_checked_over_the_charts_defaults(self, tmp_path, ours, said):
        (tmp_path / "values.schema.yaml").write_text(self.SCHEMA)
        (tmp_path / "values.yaml").write_text("a: 1\nb: {x: 1}\n")
        (tmp_path / "ours.yaml").write_text(ours)
        assert check_values.complaints(tmp_path, tmp_path / "ours.yaml") == said

    def test_mappings_are_merged_and_lists_replaced(self):
        assert check_values.over({"a": {"x": 1, "y": [1]}}, {"a": {"y": [2]}}) == {"a": {"x": 1, "y": [2]}}

    def test_a_student_is_guaranteed_what_one_was_measured_to_need(self):
        """The largest server and kernel of the table in the README."""
        measured = [int(a) + int(b) for a, b in re.findall(r"\| (\d+) \+ (\d+) \|", README)]
        guarantee, limit = (gigabytes(VALUES["singleuser"]["memory"][name]) for name in ("guarantee", "limit"))
        assert len(measured) >= 5
        assert max(measured) / 1024 < guarantee < limit

    def test_the_image_keeps_the_course_out_of_the_home_folder(self):
        command = VALUES["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"][-1]
        (folder,) = set(re.findall(r"--target-repo-dir (\S+)", README))
        assert f"cp -rn {folder}/notebooks ~/movable-derivations" in command
        assert not folder.startswith("/home")
        assert VALUES["singleuser"]["image"]["name"] in README


class TestReadme:
    def test_its_commands_exist(self):
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"\bmake ([a-z-]+)", README):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for path in re.findall(r"\b((?:deploy|benchmarks|tests)/\w+\.(?:py|yaml|md|service))", README):
            assert (ROOT / path).is_file(), path

    def test_it_is_short_and_says_what_the_settings_are(self, config):
        assert len(README.splitlines()) <= 90
        assert config.JupyterHub.bind_url.removeprefix("http://") in README
        assert f"{config.Spawner.mem_limit[:-1]} GB" in README
        for setting in re.findall(r"`(HUB_[A-Z]+)`", README):
            assert setting in (DEPLOY / "jupyterhub_config.py").read_text() + (ROOT / "Makefile").read_text()

    def test_the_load_was_measured_up_to_thirty(self):
        rows = re.findall(r"^\| (\d+) \| \d+ \+ \d+ \|.*\| (\d+) \|$", README, re.MULTILINE)
        assert [int(count) for count, _failures in rows] == [1, 5, 10, 20, 30]

    def test_what_it_promises_follows_from_the_table(self):
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line.startswith("| ")
        ]
        rows = [row for row in rows if row[0].isdigit()]
        promised = [(int(size), int(count)) for size, count in re.findall(r"(\d+) GB carry (\d+)", README)]
        assert len(promised) == 3
        each = max(int(row[3]) / int(row[0]) for row in rows) / 1024  # what the machine lost, per student
        assert each < 0.5
        assert all(1 + count * each < size for size, count in promised)
        calm, busy = (max(int(row[column].split(" / ")[1]) for row in rows) / 1000 for column in (6, 7))
        meanwhile, afterwards = re.search(r"less\s+than ([\d.]+) s with 30 .* less than ([\d.]+) s", README).groups()
        assert busy < float(meanwhile) < 1.2 * busy
        assert calm < float(afterwards) < 1.2 * calm


def test_the_hubs_environment_is_an_extra_that_make_installs():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["hub"]
    assert {line.split(">=")[0] for line in extra} >= {
        "jupyterhub",
        "jupyterhub-firstuseauthenticator",
        "jupyterhub-idle-culler",
    }
    makefile = (ROOT / "Makefile").read_text()
    assert "\n.venv/hub: .venv/teach\n\t$(INSTALL) -c requirements.lock -e '.[teach,hub]'\n" in makefile
