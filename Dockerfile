FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

COPY requirements.txt requirements-engine.txt ./
RUN pip install --upgrade 'pip>=24.1' \
    && pip install -r requirements.txt \
    && (pip install -r requirements-engine.txt || echo "No embedded engine for this kind of machine.")

COPY chatapp chatapp
COPY templates templates
COPY static static
COPY .flaskenv wsgi.py gunicorn.conf.py ./

RUN useradd --create-home --uid 10001 chatapp && install -d -m 0700 -o chatapp /app/data
USER chatapp

ENV HOST=0.0.0.0 PORT=5000 CHATAPP_DATA_DIR=/app/data
VOLUME /app/data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/health' % os.environ['PORT'], timeout=4)"]

CMD ["python", "-m", "chatapp.serve"]
