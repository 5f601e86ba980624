# The bot in one image: docker build --tag recollect:0.1.0 .
# Optional providers come with --build-arg EXTRAS="anthropic fastembed".

FROM python:3.13.16-slim-trixie AS builder
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
RUN python -m venv --without-pip /opt/recollect

# What changes seldom comes first, so that a change of the bot alone installs nothing else again.
COPY requirements.lock deploy/build.lock ./
RUN pip install --require-hashes --requirement build.lock \
    && pip --python /opt/recollect/bin/python install --no-compile --only-binary :all: \
        --require-hashes --requirement requirements.lock

# Extras are of the versions the tests run with; pip takes no hashes for what a local wheel asks for.
COPY pyproject.toml README.md LICENSE requirements-dev.lock ./
COPY bot bot
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && sed -n 's/^\([a-z].*\) \\$/\1/p' requirements-dev.lock > constraints.txt \
    && wheel=(wheels/*.whl) \
    && pip --python /opt/recollect/bin/python install --no-compile --only-binary :all: \
        --constraint constraints.txt "./${wheel[0]}${EXTRAS:+[${EXTRAS// /,}]}"

COPY deploy/trim.py ./
RUN PYTHONPYCACHEPREFIX=/opt/recollect/bytecode /opt/recollect/bin/python trim.py


FROM python:3.13.16-slim-trixie
LABEL org.opencontainers.image.title="Recollect" \
      org.opencontainers.image.description="A self-hosted memory for Discord communities" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

# The host's trust store is what the clients of OpenAI and Discord go by; the base image brings one.
RUN test -s /etc/ssl/certs/ca-certificates.crt \
    && groupadd --gid 10001 recollect \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/recollect --shell /usr/sbin/nologin recollect \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/recollect \
    && install --directory /etc/recollect

COPY --from=builder /opt/recollect /opt/recollect

# The bytecode made above is all there is: nothing is written beside it, and the root may be read-only.
ENV PATH=/opt/recollect/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/recollect/bytecode \
    PYTHONUNBUFFERED=1 \
    BOT_STORAGE__PATH=/var/lib/recollect/data \
    BOT_WEB__HOST=0.0.0.0 \
    BOT_LOG__FORMAT=json

USER 10001:10001
# A config.toml here is found without being named.
WORKDIR /etc/recollect
VOLUME ["/var/lib/recollect"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["recollect", "healthcheck"]
ENTRYPOINT ["recollect"]
CMD ["run"]
