"""The application for a WSGI server: ``wsgi:app``. Exactly one worker process (gunicorn.conf.py sees to that)."""

from chatapp import create_app
from chatapp.config import Config
from chatapp.supervisor.status import one_line_failures

with one_line_failures():
    app = create_app(Config.from_env())

application = app
