"""Why no connection to a provider came about, in words: from what the operating system and OpenSSL said. Pure."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from gputui.model.units import Ms, iso_utc
from gputui.providers.exchange import clock_problem

# X509_V_ERR_… of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code`.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_OTHER_HOST = frozenset({62, 64})
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


@dataclass(frozen=True, slots=True)
class Why:
    """What is in the way, and the next step."""

    message: str
    hint: str


def is_tls(error: BaseException) -> bool:
    """Say whether an error came from the secure layer."""
    return any(isinstance(cause, ssl.SSLError) for cause in _causes(error))


def why_unreachable(title: str, address: str, error: BaseException, *, now_ms: Ms, clock_gap_s: float | None) -> Why:
    """Return what kept us from `address`, a host name with its port where it has one of its own.

    `clock_gap_s` is what earlier answers told of our clock.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _distrusted(title, address, cause.verify_code, now_ms, clock_gap_s)
        if isinstance(cause, ssl.SSLError):
            return Why(
                f"No secure connection to {title} at {address} came about (TLS).",
                f"Check whether a proxy intercepts HTTPS, and the URL set for {title}.",
            )
        if isinstance(cause, socket.gaierror):
            return Why(
                f"The address of {title}, {address}, could not be looked up (DNS).",
                f"Check the network and its DNS, and the proxy or URL set for {title}.",
            )
        if isinstance(cause, ConnectionRefusedError):
            return Why(
                f"{title} cannot be reached: {address} refused the connection.",
                f"Check the proxy or URL set for {title}, and whether something listens there.",
            )
        if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
            return Why(f"There is no network path to {title} at {address}.", "Check this machine's network.")
    return Why(
        f"{title} cannot be reached from here ({address}).",
        f"Check the network, and the proxy or URL set for {title}.",
    )


def proxy_refused(title: str, said: str) -> Why:
    """Return what it means that a proxy did not let us through; `said` begins with its HTTP status."""
    status = said[:3]
    if status == "407":
        return Why(
            f"The proxy between here and {title} wants a login (407).",
            "Put user name and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT.",
        )
    answered = f" ({status})" if status.isdigit() else ""
    return Why(
        f"The proxy between here and {title} does not let us through{answered}.",
        "Check HTTPS_PROXY, or ask who runs the proxy.",
    )


def _distrusted(title: str, address: str, code: int, now_ms: Ms, clock_gap_s: float | None) -> Why:
    """Return why a certificate was not accepted."""
    if code in (_NOT_YET_VALID, _EXPIRED):
        fault = "not valid yet" if code == _NOT_YET_VALID else "expired"
        slow_or_fast = clock_problem(clock_gap_s)
        return Why(
            f"The certificate of {title} is {fault} by this machine's clock, {_minute(now_ms)} (TLS).",
            f"{slow_or_fast} Set it right."
            if slow_or_fast
            else "Set the clock right if that is not the time; if it is, a proxy intercepts HTTPS or they must renew it.",
        )
    if code in _OTHER_HOST:
        return Why(
            f"What answers as {title} shows a certificate of another host than {address} (TLS).",
            f"Log in to this network's portal if it has one; else check the proxy and the URL set for {title}.",
        )
    if code in _UNKNOWN_ISSUER:
        return Why(
            f"The certificate of {title} is signed by nobody this machine trusts (TLS).",
            "A proxy may intercept HTTPS: if it is yours, name its certificates in SSL_CERT_FILE; if not, change networks.",
        )
    return Why(
        f"The certificate of {title} could not be trusted (TLS).",
        "Check this machine's clock and whether a proxy intercepts HTTPS.",
    )


def _minute(now_ms: Ms) -> str:
    return f"{(iso_utc(now_ms) or '')[:16].replace('T', ' ')} UTC"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error and what led to it, the last first; where several attempts failed, each of them."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for attempt in error.exceptions:
                yield from _causes(attempt)
        error = error.__cause__ or error.__context__
