"""mail: one message to the place's mail server, by SMTP."""

import logging
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from configs.alerts import MailParams

log = logging.getLogger(__name__)

_PATIENCE = 30
"""Seconds a mail server may be silent."""


def mail(server: MailParams, head: str, text: str) -> None:
    """Send one message. Raises smtplib's SMTPException, or OSError.

    Where encryption is asked for and the server does not offer it, or its certificate is not trusted, nothing is sent.
    """
    message = EmailMessage()
    message["Subject"] = " ".join(head.split())
    message["From"], message["To"] = server.sender, ", ".join(server.to)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="evergreen.invalid")
    message.set_content(text)
    with _client(server) as client:
        if server.security == "starttls":
            client.starttls(context=ssl.create_default_context())
        if server.user and server.password:
            client.login(server.user, server.password)
        for address in client.send_message(message):
            log.error("the mail server %s takes nothing for %s", server.host, address)


def _client(server: MailParams) -> smtplib.SMTP:
    if server.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_PATIENCE, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=_PATIENCE)
