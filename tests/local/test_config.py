from __future__ import annotations

import dataclasses
import tomllib

import pytest

from gputui.local import config as config_module
from gputui.local.config import Config, ProviderConfig, docs_of, load_config, provider_url, reference
from gputui.local.paths import Paths
from gputui.model.errors import ConfigError

SECTIONS = [
    config_module.OffersConfig,
    config_module.AgentConfig,
    config_module.SweepConfig,
    config_module.JobsConfig,
    config_module.UiConfig,
    ProviderConfig,
]


def load(paths: Paths, text: str, **options: object) -> Config:
    paths.config_dir.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(text, encoding="utf-8")
    return load_config(paths, **options)  # type: ignore[arg-type]


def problems(paths: Paths, text: str, **options: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(paths, text, **options)
    assert str(paths.config_file) in caught.value.message
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def test_no_file_means_defaults(paths: Paths) -> None:
    config = load_config(paths)
    assert config == Config()
    assert config.offers.max_age_s == 300
    assert (config.agent.poll_s, config.agent.idle_exit_s, config.agent.boot_timeout_s) == (1.0, 30, None)
    assert (config.agent.lease_s, config.agent.ssh_connect_timeout_s, config.agent.max_attempts) == (21600, 10, 6)
    assert (config.jobs.default_max_duration, config.jobs.default_os_image) == (None, None)
    assert (config.ui.theme, config.ui.refresh_s, config.ui.ascii) == ("gputui-dark", 30, False)
    assert config.provider("huddle") == ProviderConfig(url=None, enabled=True, label=None)


def test_everything_can_be_set(paths: Paths) -> None:
    config = load(
        paths,
        """
        [offers]
        max_age_s = 60
        [agent]
        poll_s = 2
        [jobs]
        default_max_duration = "1h30m"
        default_os_image = "ubuntu-22.04"
        [ui]
        ascii = true
        [providers.huddle]
        url = "http://127.0.0.1:8080/api/v1"
        enabled = false
        label = "team"
        """,
    )
    assert config.offers.max_age_s == 60
    assert config.agent.poll_s == 2
    assert config.agent.max_attempts == 6
    assert config.jobs.default_max_duration_s == 5400
    assert config.ui.ascii is True
    assert config.provider("huddle") == ProviderConfig("http://127.0.0.1:8080/api/v1", False, "team")


@pytest.mark.parametrize(("text", "seconds"), [('"none"', None), ('"4h"', 14400), ('"90m"', 5400)])
def test_default_max_duration(paths: Paths, text: str, seconds: int | None) -> None:
    assert load(paths, f"[jobs]\ndefault_max_duration = {text}").jobs.default_max_duration_s == seconds


def test_every_problem_is_listed_in_one_message(paths: Paths) -> None:
    found = problems(
        paths,
        """
        colour = "red"
        [offer]
        [agent]
        poll = 1
        max_attempts = "six"
        lease_s = 1
        [ui]
        ascii = 1
        refresh_s = true
        theme = 3
        [jobs]
        default_max_duration = "soon"
        [providers.huddle]
        url = "gpu.huddleapis.com"
        """,
    )
    assert found == [
        "colour: no such setting. There are: offers, agent, sweep, jobs, ui, providers, keys.",
        "offer: no such setting. Did you mean 'offers'?",
        "agent.poll: no such setting. Did you mean 'poll_s'?",
        "agent.max_attempts: must be a whole number.",
        "agent.lease_s: must be from 10 to 2592000.",
        "ui.ascii: must be true or false.",
        "ui.refresh_s: must be a whole number.",
        "ui.theme: must be text in quotes.",
        'jobs.default_max_duration: is not a duration; write it like "30m", "4h" or "none".',
        "providers.huddle.url: is not a URL; write it like https://host/path, with no user name or key in it.",
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e12"])
def test_numbers_without_sense_are_refused(paths: Paths, value: str) -> None:
    assert problems(paths, f"[agent]\npoll_s = {value}") == ["agent.poll_s: must be from 0.01 to 60."]


@pytest.mark.parametrize("name", ["api_key", "token", "key", "client-secret"])
def test_a_secret_in_the_file_is_pointed_elsewhere_and_not_repeated(paths: Paths, name: str) -> None:
    (found,) = problems(paths, f'[providers.huddle]\n{name} = "fake-key-123456"')
    assert "auth login" in found
    assert "fake-key" not in found


def test_a_url_with_a_password_is_refused_and_not_repeated(paths: Paths) -> None:
    (found,) = problems(paths, '[providers.huddle]\nurl = "https://me:fake-password@host/api"')
    assert "fake-password" not in found


@pytest.mark.parametrize("text", ["offers = 3", "providers = 3", "providers.huddle = true"])
def test_a_value_in_place_of_a_table(paths: Paths, text: str) -> None:
    assert "must be a table" in problems(paths, text)[0]


def test_unknown_providers_are_told_when_the_known_ones_are(paths: Paths) -> None:
    text = "[providers.hudle]\nenabled = false"
    assert load(paths, text).provider("hudle").enabled is False
    assert problems(paths, text, known_providers=["huddle", "mock"]) == [
        "providers.hudle: no such provider. Did you mean 'huddle'?"
    ]


def test_a_syntax_error_names_file_and_line(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml is not valid TOML: .*line 2"):
        load(paths, "[ui]\ntheme = \n")


def test_files_that_cannot_be_read(paths: Paths) -> None:
    paths.config_dir.mkdir(parents=True)
    paths.config_file.write_bytes(b"[ui]\ntheme = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(paths)
    paths.config_file.unlink()
    paths.config_file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(paths)


def test_url_from_environment_then_file_then_none(paths: Paths) -> None:
    config = load(paths, '[providers.huddle]\nurl = "https://file.example/v1"')
    assert provider_url(config, "huddle", {"GPUTUI_HUDDLE_URL": " http://127.0.0.1:9/v1 "}) == "http://127.0.0.1:9/v1"
    assert provider_url(config, "huddle", {"GPUTUI_HUDDLE_URL": ""}) == "https://file.example/v1"
    assert provider_url(config, "mock", {}) is None
    with pytest.raises(ConfigError, match="GPUTUI_HUDDLE_URL is not a URL") as caught:
        provider_url(config, "huddle", {"GPUTUI_HUDDLE_URL": "ftp://fake-secret@x"})
    assert "fake-secret" not in str(caught.value)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_docstring(section: type) -> None:
    docs = docs_of(section)
    for setting in dataclasses.fields(section):
        assert docs.get(setting.name, "").endswith("."), f"{section.__name__}.{setting.name} has no docstring"


def test_docs_of_does_not_invent_one() -> None:
    @dataclasses.dataclass
    class Half:
        with_doc: int = 1
        """Told."""
        without: int = 2

    assert docs_of(Half) == {"with_doc": "Told."}


def test_reference_lists_every_setting_and_is_a_valid_file(paths: Paths) -> None:
    text = reference()
    for section in SECTIONS:
        for setting in dataclasses.fields(section):
            assert f"# {setting.name} = " in text
    assert tomllib.loads(text.replace("<name>", "huddle")) == {
        "offers": {},
        "agent": {},
        "sweep": {},
        "jobs": {},
        "ui": {},
        "providers": {"huddle": {}},
        "keys": {},
    }
    assert load(paths, text.replace("<name>", "huddle")).provider("huddle") == ProviderConfig()


def test_reference_defaults_are_the_real_ones(paths: Paths) -> None:
    lines = [line.removeprefix("# ") for line in reference().replace("<name>", "huddle").splitlines()]
    kept = [line for line in lines if line.startswith("[") or (" = " in line and "(not set)" not in line)]
    assert load(paths, "\n".join(kept)) == Config(providers={"huddle": ProviderConfig()})


def test_own_keys_are_read_quoted_or_as_nested_tables(paths: Paths) -> None:
    config = load(paths, '[keys]\nlist.filter = "f"\n"jobs.stop" = "X,f8"\n')
    assert dict(config.keys) == {"list.filter": "f", "jobs.stop": "X,f8"}


def test_own_keys_that_are_not_text_are_told(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"keys\.list\.filter: must be keys in quotes"):
        load(paths, "[keys]\nlist.filter = 3\n")
