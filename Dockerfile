# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS builder
# The SQL parser is C, and its bindings are generated with libclang.
RUN apt-get update \
    && apt-get install -y --no-install-recommends clang libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# For `lockkeeper --version`: --build-arg LOCKKEEPER_COMMIT="$(git log -1 --abbrev=9 --format='%h, %cs')"
ARG LOCKKEEPER_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin lockkeeper \
    && install -D --strip target/release/lockkeeper /out/lockkeeper

# glibc, libgcc and the usual certificate authorities; no shell, no package manager, user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="lockkeeper" \
      org.opencontainers.image.description="A PostgreSQL wire-protocol proxy that guards schema changes" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder /out/lockkeeper /usr/local/bin/lockkeeper
COPY config/lockkeeper.toml /etc/lockkeeper/lockkeeper.toml
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/lockkeeper/

# Clients come from outside the container. The HTTP pages stay inside it, which is enough for the health
# check; to reach /metrics set LOCKKEEPER__HTTP__ADDRESS=0.0.0.0:6433 and publish it to a private network only.
ENV LOCKKEEPER__LISTEN__ADDRESS=0.0.0.0:6432 \
    LOCKKEEPER__HTTP__ADDRESS=127.0.0.1:6433
EXPOSE 6432 6433
USER nonroot
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["lockkeeper", "health"]
ENTRYPOINT ["lockkeeper"]
CMD ["serve", "--config", "/etc/lockkeeper/lockkeeper.toml"]
