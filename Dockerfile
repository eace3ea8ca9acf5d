# The server as an image. It takes a config that is mounted, or variables of the environment:
#
#     docker build --tag sse-broadcaster .
#     docker run --rm --publish 3000:3000 sse-broadcaster

FROM rust:1.91-bookworm AS build
# For what is written in C: the cryptography, and the memory allocator.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# .cargo says how the allocator gives memory back. bench and benches are there for cargo to find what
# Cargo.toml names.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY bench bench
COPY benches benches
# The source includes this file.
COPY docs/reference/openapi.yaml docs/reference/openapi.yaml
COPY src src
RUN cargo build --release --locked -p sse-broadcaster --bin broadcaster

FROM debian:bookworm-slim
# Whom to trust, for Redis by TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 broadcaster
COPY --from=build /build/target/release/broadcaster /usr/local/bin/broadcaster
WORKDIR /srv/broadcaster
COPY config config
COPY static static
USER broadcaster
ENV BROADCASTER__SERVER__BIND=0.0.0.0:3000
EXPOSE 3000
ENTRYPOINT ["broadcaster"]
