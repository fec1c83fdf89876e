"""Members: accounts made through Label Studio's own invite link, and who of them may do what.

Label Studio has no roles, so the engine keeps them, in `people.json`. A password is made up and left in a file that
only the home's owner reads, unless one is given.
"""

from __future__ import annotations

import html
import os
import re
import secrets as randomness
from dataclasses import dataclass
from pathlib import Path

from annotation.errors import SiteError
from annotation.site.access import Api, browser, post_form
from annotation.site.records import ROLES, Role, read_people, site_folder, write_people

__all__ = ["Invitation", "invite", "member_emails"]

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 128


@dataclass(frozen=True, slots=True)
class Invitation:
    """What became of an invitation."""

    email: str
    role: Role
    created: bool  # False: was a member already
    password_file: Path | None  # where the password lies; None when the member keeps an older one


def invite(
    home: Path, url: str, api: Api, *, email: str, role: str, password_file: Path | None = None
) -> Invitation:
    """Make `email` a member with a role; for a member, only the role is set.

    Raises SiteError when the address, the role or the password cannot be used, or Label Studio refuses.
    """
    email, known = _checked_email(email), _checked_role(role)
    present = email in member_emails(api)
    kept = password_file
    if not present:
        kept = password_file or _password_file(home, email)
        _sign_up(url, api, email, _read_password(kept))
    write_people(home, dict(read_people(home)) | {email: known})
    return Invitation(email, known, created=not present, password_file=None if present else kept)


def member_emails(api: Api) -> list[str]:
    """Everybody with an account, the admin too."""
    return [user["email"].lower() for user in api.list("/api/users/")]


def _sign_up(url: str, api: Api, email: str, password: str) -> None:
    """Fill in the form that the invite link leads to."""
    link = f"/user/signup/?token={api.get('/api/invite')['token']}"
    with browser(url) as client:
        answer = post_form(client, link, {"email": email, "password": password})
    if answer.status_code != 302 or email not in member_emails(api):
        raise SiteError(f"Label Studio does not take {email} as a member: {_complaint(answer.text)}")


def _complaint(page: str) -> str:
    """What the sign-up page says is wrong."""
    lists = re.findall(r'<ul class="field_errors">(.*?)</ul>', page, re.DOTALL)
    said = [line for one in lists for line in re.findall(r"<li>(.*?)</li>", one)]
    return " ".join(html.unescape(line) for line in said) or "it shows the sign-up page again."


def _checked_email(email: str) -> str:
    if not ADDRESS.fullmatch(email) or "/" in email:
        raise SiteError(f"{email!r} is no e-mail address.")
    return email.lower()


def _checked_role(role: str) -> Role:
    for known in ROLES:
        if role == known:
            return known
    raise SiteError(f"There is no role {role!r}; a member is one of: {', '.join(ROLES)}.")


def _password_file(home: Path, email: str) -> Path:
    """A file with a new random password, or the one an interrupted invitation left."""
    path = site_folder(home) / "passwords" / f"{email}.txt"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists() or not path.stat().st_size:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{randomness.token_urlsafe(12)}\n")
    return path


def _read_password(path: Path) -> str:
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(f"The password cannot be read from {path}: {error}") from error
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise SiteError(
            f"The password in {path} has {len(password)} characters; "
            f"it needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}."
        )
    return password
