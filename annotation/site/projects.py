"""The engine's projects in Label Studio: made if absent, brought back to what they must be if changed.

There are no roles in Label Studio: any member can change or delete any of this. The next `engine studio up` mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.errors import SiteError
from annotation.site.access import Api
from annotation.site.config import SiteConfig
from annotation.site.records import MEDIA_FOLDER, PREDICTION_VERSION, PROJECT_KINDS, Secrets

__all__ = ["Counts", "count_tasks", "ensure_projects"]

BACKEND_TITLE = "SAM 2"
SECRET_HEADER = "X-Engine-Secret"
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
MATCHES_NOTHING = "(?!)"
"""A member who presses "Sync storage" shall not make a task of every frame."""

TITLES = {
    "selection": "1 Selection",
    "annotation-1": "2 Annotation, phase 1",
    "annotation-2": "2 Annotation, phase 2",
    "annotation-3": "2 Annotation, phase 3",
    "verification": "3 Verification",
}
DESCRIPTIONS = {
    "selection": "Which objects are to be annotated: mark each in the frame shown and give it a name.",
    "annotation-1": "Make the object's mask in every frame; clicks and boxes are answered frame by frame.",
    "annotation-2": "Paint or correct the object's mask where it is wrong; type p to carry it through the frames.",
    "annotation-3": "Click, box or paint where the mask is wrong; type p to carry it through the frames.",
    "verification": "Is the outline right in every frame? Mark what is not, and give a verdict.",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of a project is done."""

    tasks: int
    finished: int


def ensure_projects(
    api: Api, config: SiteConfig, secrets: Secrets, *, known: Mapping[str, int]
) -> Mapping[str, int]:
    """Make every project be there and right; returns their ids. known: the ids they had last time."""
    present = {project["id"]: project for project in api.list("/api/projects/")}
    ids = {}
    for kind in reversed(PROJECT_KINDS):  # Label Studio lists the newest first
        found = present.get(known.get(kind, 0)) or _called(TITLES[kind], present, known)
        project = found or api.post("/api/projects/", _wanted(kind, config) | _at_birth(kind))
        ids[kind] = project["id"]
        _mend(api, project, kind, config)
        _ensure_storage(api, project["id"], config)
        _ensure_webhook(api, project["id"], config, secrets)
        if helps(kind):
            _ensure_backend(api, project["id"], config, secrets)
    return ids


def count_tasks(api: Api, projects: Mapping[str, int]) -> Mapping[str, Counts]:
    """Tasks per project; a project that is gone is left out."""
    present = {project["id"]: project for project in api.list("/api/projects/")}
    return {
        kind: Counts(present[number]["task_number"], present[number]["num_tasks_with_annotations"])
        for kind in PROJECT_KINDS
        if (number := projects.get(kind, 0)) in present
    }


def helps(kind: str) -> bool:
    """Whether the model server answers in projects of a kind."""
    return kind.startswith("annotation-")


def _called(
    title: str, present: Mapping[int, dict[str, Any]], known: Mapping[str, int]
) -> dict[str, Any] | None:
    """A project of ours whose number was forgotten."""
    named = [one for number, one in present.items() if one["title"] == title and number not in known.values()]
    return named[0] if named else None


def _wanted(kind: str, config: SiteConfig) -> dict[str, Any]:
    return {
        "title": TITLES[kind],
        "description": DESCRIPTIONS[kind],
        "label_config": config.label_config(kind).strip(),  # as Label Studio keeps it
        "expert_instruction": DESCRIPTIONS[kind],
        "sampling": "Sequential sampling",
        "maximum_annotations": 1,
        "skip_queue": "REQUEUE_FOR_OTHERS",
        "show_skip_button": True,
        "enable_empty_annotation": True,
        "show_collab_predictions": helps(kind),
    }


def _at_birth(kind: str) -> dict[str, Any]:
    """Later it is accepted only where predictions of that version exist."""
    return {"model_version": PREDICTION_VERSION} if helps(kind) else {}


def _mend(api: Api, project: dict[str, Any], kind: str, config: SiteConfig) -> None:
    path = f"/api/projects/{project['id']}/"
    changed = {key: value for key, value in _wanted(kind, config).items() if project.get(key) != value}
    if changed:
        try:
            api.patch(path, changed)
        except SiteError as error:
            raise SiteError(
                f"Project {project['id']} ({TITLES[kind]}) cannot be brought up to date. {error}"
            ) from error
    if helps(kind) and project.get("model_version") != PREDICTION_VERSION:
        _set_prediction_version(api, path)


def _set_prediction_version(api: Api, path: str) -> None:
    """Back to ours; to none where no task has a prediction yet, which Label Studio takes for "no predictions"."""
    try:
        api.patch(path, {"model_version": PREDICTION_VERSION})
    except SiteError:
        api.patch(path, {"model_version": ""})


def _ensure_storage(api: Api, project: int, config: SiteConfig) -> None:
    """Members may read what lies in the media folder; nothing is imported from it."""
    wanted = {
        "path": str(config.media / MEDIA_FOLDER),
        "regex_filter": MATCHES_NOTHING,
        "use_blob_urls": False,
    }
    (config.media / MEDIA_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    present = api.list("/api/storages/localfiles", project=project)
    if not any(all(one[key] == value for key, value in wanted.items()) for one in present):
        title = {"project": project, "title": "Frames and clips"}
        api.post("/api/storages/localfiles", wanted | title)


def _ensure_webhook(api: Api, project: int, config: SiteConfig, secrets: Secrets) -> None:
    """One webhook to the model server, ours. Label Studio adds an open one with a backend, unless one is there."""
    url = f"{config.model_url}/webhook"
    wanted = {
        "url": url,
        "headers": {SECRET_HEADER: secrets.webhook_secret},
        "actions": sorted(ACTIONS),
        "send_for_all_actions": False,
        "send_payload": True,
        "is_active": True,
    }
    right = False
    for hook in api.list("/api/webhooks/", project=project):
        if not right and _is(hook | {"actions": sorted(hook["actions"])}, wanted):
            right = True
        elif hook["url"] == url or SECRET_HEADER in hook["headers"]:
            api.delete(f"/api/webhooks/{hook['id']}/")
    if not right:
        api.post("/api/webhooks/", wanted | {"project": project})


def _ensure_backend(api: Api, project: int, config: SiteConfig, secrets: Secrets) -> None:
    """One model server, ours; its password cannot be read back, so it is said again."""
    wanted = {
        "project": project,
        "url": config.model_url,
        "title": BACKEND_TITLE,
        "is_interactive": True,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": secrets.model_user,
        "basic_auth_pass": secrets.model_password,
    }
    present = api.list("/api/ml/", project=project)
    for other in present[1:]:
        api.delete(f"/api/ml/{other['id']}")
    if present:
        api.patch(f"/api/ml/{present[0]['id']}", wanted)
    else:
        api.post("/api/ml/", wanted)


def _is(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())
