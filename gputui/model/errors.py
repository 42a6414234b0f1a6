"""Errors, classed by what the reader can do next.

Every error that reaches a person is a `GputuiError`: one sentence that says what happened and, in `hint`, what to do about
it. Messages never hold a key, a token or a raw response body.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GputuiError(Exception):
    """Base of every error this product raises on purpose.

    `code` is stable and appears in JSON (`{"status":"error","code":…}`); `hint` is the next step for a person.
    """

    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(GputuiError):
    """The request itself is wrong: an unknown GPU, a negative budget, a missing image."""

    code = "usage"

    def __init__(self, message: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field


class NotFoundError(GputuiError):
    """Something the user named does not exist here (a job, a machine, a provider)."""

    code = "not_found"


class NoMatch(GputuiError):
    """No offer satisfies the request; the message names the constraint that removed the last one."""

    code = "no_match"


class GuardRefused(GputuiError):
    """A guard or budget of the user's own forbids this spending."""

    code = "guard_refused"


class ConfirmationNeeded(GputuiError):
    """Something spends or destroys, nobody can be asked, and `--yes` was not given."""

    code = "confirmation_needed"


class StoreError(GputuiError):
    """The local database cannot be used as it is."""

    code = "store"


class StoreTooNew(StoreError):
    """The database was written by a newer version of this program."""

    code = "store_too_new"


class StoreReadOnly(StoreError):
    """The state folder or the database cannot be written."""

    code = "store_read_only"


class SecretsError(GputuiError):
    """A key could not be read or kept; says which back-end and why."""

    code = "secrets"


class VaultLocked(SecretsError):
    """The vault file holds keys but its passphrase is not known."""

    code = "vault_locked"


class ConfigError(GputuiError):
    """The configuration file cannot be understood; names the field."""

    code = "config"


class AgentError(GputuiError):
    """The agent could not be started, reached or stopped."""

    code = "agent"


class AgentBusy(AgentError):
    """Another agent of this profile already holds the lock."""

    code = "agent_busy"


class ShellError(GputuiError):
    """A machine could not be reached over its shell, or the connection broke; try again."""

    code = "shell"


class HostKeyChanged(ShellError):
    """The machine answered with another host key than the one pinned for it; never retried."""

    code = "host_key_changed"


class ProviderError(GputuiError):
    """Base of everything that went wrong while talking to a provider.

    `may_exist` is True when a create call may have left a billable machine behind: the caller must look before it
    tries again. `request_id` is the provider's own, for their support. `raw` is a short, redacted excerpt or None.
    """

    code = "provider"
    default_may_exist: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        operation: str = "",
        request_id: str | None = None,
        status: int | None = None,
        may_exist: bool | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.operation = operation
        self.request_id = request_id
        self.status = status
        self.may_exist = self.default_may_exist if may_exist is None else may_exist

    def facts(self) -> dict[str, Any]:
        """Return what is worth keeping in an event row: no secrets, JSON values only."""
        facts = {
            "code": self.code,
            "provider": self.provider,
            "operation": self.operation,
            "request_id": self.request_id,
            "http_status": self.status,
            "may_exist": self.may_exist,
        }
        return {name: value for name, value in facts.items() if value not in (None, "")}


class AuthError(ProviderError):
    """The key is missing, wrong, expired or not allowed to do this: fix the key.

    `lacks_permission` is True when the key itself works, as far as the provider tells the two apart.
    """

    code = "auth"

    def __init__(self, message: str, *, lacks_permission: bool = False, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.lacks_permission = lacks_permission


class NotFunded(ProviderError):
    """The account has too little credit: add money at the provider."""

    code = "not_funded"


class NoCapacity(ProviderError):
    """Nothing of this kind is free right now: take the next offer."""

    code = "no_capacity"


class Conflict(ProviderError):
    """The provider is still working on the same request, or its state forbids this one now: look, wait, repeat."""

    code = "conflict"
    default_may_exist = True


class RateLimited(ProviderError):
    """Too many requests: wait `retry_after_s` seconds (None when the provider does not say)."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after_s = retry_after_s


class Transient(ProviderError):
    """The provider failed for a moment (5xx, a proxy's page): try again. A create may have gone through."""

    code = "transient"
    default_may_exist = True


class Rejected(ProviderError):
    """The provider understood and refused the request; `field` names the part to change when known."""

    code = "rejected"

    def __init__(self, message: str, *, field: str | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.field = field


class Malformed(ProviderError):
    """The answer could not be read (truncated JSON, an HTML page, a missing id): report it."""

    code = "malformed"
    default_may_exist = True

    def __init__(self, message: str, *, hint: str | None = "If it stays so, please report it.", **kwargs: Any) -> None:
        super().__init__(message, hint=hint, **kwargs)


class Unreachable(ProviderError):
    """No answer at all. `sent` is False when the request certainly never left (refused connection, no DNS, TLS)."""

    code = "unreachable"

    def __init__(self, message: str, *, sent: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault("may_exist", sent)
        super().__init__(message, **kwargs)
        self.sent = sent


class Gone(ProviderError):
    """The provider knows no such machine, volume or key (404). For a terminate this is success."""

    code = "gone"


class NotSupported(ProviderError):
    """This provider cannot do that; the message says why."""

    code = "not_supported"
