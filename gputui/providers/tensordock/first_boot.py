"""What a TensorDock machine does to itself on its first boot, through `cloud_init.runcmd`: it runs as root. Pure text.

Public clients report machines whose `ssh_key` did not let its owner in, and images without Docker or without NVIDIA's
runtime for it. Each command looks first and leaves alone what is there, and none fails the boot. How the commands are passed
on is not documented: each is one line, without what would be a key or a comment in careless YAML.
"""

from __future__ import annotations

SSH_USER = "user"

_APT_GET = "apt-get -o DPkg::Lock::Timeout=300 -qy"
_TOOLKIT = "https://nvidia.github.io/libnvidia-container"
_KEYRING = "/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg"
_SOURCES = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"

_INSTALL_DOCKER = (
    f"command -v docker >/dev/null || {{ {_APT_GET} update && {_APT_GET} install docker.io; }} || true",
    f"usermod -aG docker {SSH_USER} || true",
    "systemctl enable --now docker || true",
)

# Docker is held down meanwhile, so that nothing starts on it before it can hand out GPUs.
_INSTALL_TOOLKIT = (
    "command -v nvidia-ctk >/dev/null || { systemctl stop docker.socket docker"
    f"; curl -fsSL {_TOOLKIT}/gpgkey | gpg --batch --yes --dearmor -o {_KEYRING}"
    f"; curl -fsSL {_TOOLKIT}/stable/deb/nvidia-container-toolkit.list"
    f" | sed 's|deb https|deb [signed-by={_KEYRING}] https|' >{_SOURCES}"
    f"; {_APT_GET} update; {_APT_GET} install nvidia-container-toolkit"
    "; nvidia-ctk runtime configure --runtime=docker; systemctl start docker; } || true"
)


def commands(public_key: str, *, needs_docker: bool) -> list[str]:
    """Return the commands, in order. `public_key` is a checked one-line key; its comment is left out."""
    kind, blob = public_key.split()[:2]
    let_in = (
        f'home=$(getent passwd {SSH_USER} | cut -f6 -d:) && keys="$home/.ssh/authorized_keys" && [ -n "$home" ]'
        f' && install -d -m 700 -o {SSH_USER} -g {SSH_USER} "$home/.ssh"'
        f" && {{ grep -qsF '{blob}' \"$keys\" || echo '{kind} {blob}' >>\"$keys\"; }}"
        f' && chown {SSH_USER}:{SSH_USER} "$keys" && chmod 600 "$keys" || true'
    )
    return [let_in, *_INSTALL_DOCKER, _INSTALL_TOOLKIT] if needs_docker else [let_in]
