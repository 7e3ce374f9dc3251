"""Whom a place tells when something needs a person, and what its monitors run on (`alerts`, `monitoring`)."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from configs.frozen import Frozen

BlockDocument = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]


MAIL = "mail"


class MailParams(Frozen):
    """A mail server, who writes, and to whom."""

    host: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: str | None = None
    """`env:NAME` reads it from the environment."""
    sender: str
    to: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if self.password and self.security == "none":
            raise ValueError("a password is sent over an encrypted connection only: security is `starttls` or `tls`")
        return self


class AlertParams(Frozen):
    """Where alerts go."""

    channels: tuple[BlockDocument | Literal["mail"], ...] = ()
    """Prefect's notification blocks, as `type/name`: `slack-webhook/ops`, `pager-duty-webhook/night`; and `mail`."""
    mail: MailParams | None = None
    """What the channel `mail` is."""
    runbook: str = "docs/runbook.md"
    """Where people find what to do: a path or a URL; alerts link to its sections."""

    @model_validator(mode="after")
    def _mail_has_a_server(self) -> Self:
        if (MAIL in self.channels) != (self.mail is not None):
            raise ValueError("the channel `mail` and the section `mail` go together: one of them is missing")
        return self


class MonitoringPlace(Frozen):
    """What the monitors run on."""

    runner: Literal["threads", "dask"] = "threads"
    """`dask`: on the cluster at `address`, or one of this machine's processes without one."""
    workers: int | None = Field(None, ge=1)
    """Threads, or processes of a cluster on this machine; as many as there are cores if not given."""
    address: str | None = None
    """Of a Dask scheduler that runs already."""
