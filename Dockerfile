# One file, two targets. The api image holds no torch; the worker image holds the CUDA build that the constraints name.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1
RUN useradd --create-home hsu && mkdir --parents /data /artifacts /cache && chown hsu /data /artifacts /cache
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE alembic.ini ./
COPY migrations migrations
COPY recipes recipes
COPY hsu_core hsu_core
COPY hsu_jobs hsu_jobs
COPY api api
COPY worker worker
COPY hsu_client hsu_client
COPY embedded embedded

FROM base AS api
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[api]'
USER hsu
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[worker]'
USER hsu
CMD ["python", "-m", "worker"]
