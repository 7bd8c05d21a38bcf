"""In a Django project that a real server runs: Django's own sessions, and an end in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = {
    "settings.py": """
        import os

        ASYNQ_BROKER = os.environ["ASYNQ_BROKER"]
        SECRET_KEY = "of a test"
        ALLOWED_HOSTS = ["127.0.0.1"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "project.db"}}
        INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
        MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ]
        ROOT_URLCONF = "urls"
        """,
    "urls.py": """
        from django.contrib import auth
        from django.http import HttpResponse
        from django.urls import path

        def login(request, name):
            auth.login(request, auth.get_user_model().objects.get(username=name))
            return HttpResponse("welcome")

        urlpatterns = [path("login/<name>", login), path("", lambda request: HttpResponse("shop"))]
        """,
    "users.py": """
        import django
        django.setup()
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        get_user_model().objects.create_user("ann", is_staff=True, is_superuser=True)
        get_user_model().objects.create_user("bo", is_staff=True)
        get_user_model().objects.create_user("cy")
        """,
}


GUIDE = Path(__file__).parents[2] / "docs/howto/django.md"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of the project, with the asgi.py of the guide: its address, and its process."""
    found = re.search(r"```python\n(# asgi\.py\n.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    files = PROJECT | {"asgi.py": found[1].replace("shop.example.com", "127.0.0.1")}
    for name, text in files.items():
        (tmp_path / name).write_text(dedent(text))
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "settings",
        "ASYNQ_BROKER": f"sqlite:///{tmp_path}/tasks.db",
    }
    subprocess.run([sys.executable, "users.py"], cwd=tmp_path, env=environment, check=True)
    command = [sys.executable, "-m", "uvicorn", "asgi:application", "--port", "0", "--app-dir", str(tmp_path)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        address = next(match[0] for line in lines if (match := re.search(r"http://[\d.:]+", line)))
        yield address, process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_project_shows_the_interface_to_its_staff(site: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = site
    roles = {}
    for name in ("ann", "bo", "cy", "nobody"):
        with httpx2.Client(base_url=address) as browser:
            assert browser.get("/").text == "shop"
            browser.get(f"/login/{name}")
            session = browser.get("/asynq/api/session")
            roles[name] = session.json().get("role", session.status_code)
    assert roles == {"ann": "operator", "bo": "viewer", "cy": 401, "nobody": 401}
    with httpx2.Client(base_url=address) as browser:
        browser.get("/login/ann")
        token = {"X-CSRF-Token": browser.get("/asynq/api/session").json()["csrf_token"]}
        answers = [
            browser.put(
                "/asynq/api/schedules/nightly", headers=headers, json={"spec": "@daily", "task_type": "t"}
            )
            for headers in ({}, token)
        ]
        assert [answer.is_success for answer in answers] == [False, True]
        assert "nightly" in browser.get("/asynq/schedules").text
        with browser.stream("GET", "/asynq/live/overview", timeout=20) as stream:
            lines = stream.iter_lines()
            assert "event: overview" in lines
            process.send_signal(signal.SIGTERM)
            list(lines)  # ends
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
