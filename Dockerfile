# The service and its commands, from the locks alone. Both stages are of one Python, so that the environment fits.
# A release names the base image by its digest: --build-arg PYTHON=python:3.12-slim@sha256:...
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock requirements-build.lock requirements-otel.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/mirakl-resync \
    && pip --python /opt/mirakl-resync/bin/python install --require-hashes -r requirements.lock -r requirements-otel.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY consumer consumer
COPY schemas schemas
COPY producer_tools producer_tools
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/mirakl-resync/bin/python install --no-deps --no-index /wheels/*.whl \
    && PYTHONPATH=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
        /opt/mirakl-resync/bin/python -m mirakl_resync.consumer.compiled \
    && mv /opt/mirakl-resync/lib/python3.12/site-packages/mirakl_resync/producer_tools/sandbox /sandbox

FROM ${PYTHON} AS service
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mirakl-resync" \
      org.opencontainers.image.description="Resynchronizes products with Mirakl (CM21) on request from Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /var/lib/mirakl-resync --create-home --shell /usr/sbin/nologin resync
COPY --from=build /opt/mirakl-resync /opt/mirakl-resync
ENV PATH=/opt/mirakl-resync/bin:$PATH
USER 10001
WORKDIR /var/lib/mirakl-resync
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-m", "mirakl_resync.schemas.process.health"]
CMD ["mirakl-resync-consumer", "run"]

# For trying things out: the same with the simulated Mirakl, the embedded broker and `mirakl-resync demo`.
FROM service AS sandbox
COPY --from=build /sandbox /opt/mirakl-resync/lib/python3.12/site-packages/mirakl_resync/producer_tools/sandbox

# What `docker build .` makes.
FROM service
