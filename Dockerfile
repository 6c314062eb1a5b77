# Callvine in one image; the command chooses the part: `up` (everything), `gateway`, `worker`, `migrate`, `keys …`.

FROM rust:1.95.0-bookworm AS builder
WORKDIR /src
COPY . .
RUN make dist

# The program's line tables, for the addresses of a crash: `docker build --target tables --output . .` writes them here.
FROM scratch AS tables
COPY --from=builder /src/target/shipped/callvine.debug /

FROM debian:12.12-slim
# The certificate authorities are for recordings and databases behind TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# Fixed ids, so that a volume keeps its owner when the image is built again. A new named volume takes the owner
# and mode of the directory it is mounted on.
RUN groupadd --gid 10001 callvine \
    && useradd --uid 10001 --gid callvine --no-create-home --home-dir /var/lib/callvine \
        --shell /usr/sbin/nologin callvine \
    && install -d -o callvine -g callvine -m 0700 /var/lib/callvine
COPY --from=builder /src/target/shipped/callvine /usr/local/bin/callvine

USER callvine
WORKDIR /var/lib/callvine
# The public listener leaves the container; the admin listener stays inside until it is given an address and a token.
ENV CALLVINE_LISTEN=0.0.0.0:8080 \
    CALLVINE_DATA_DIR=/var/lib/callvine
VOLUME /var/lib/callvine
EXPOSE 8080
# No HEALTHCHECK here: it would have to guess the admin listener's address. docker-compose.yml has one.
ENTRYPOINT ["callvine"]
CMD ["up"]
