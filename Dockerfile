# syntax=docker/dockerfile:1

# The image of everything: the services, the operator and the tools are one binary.
#
#   docker build -t localhost/ordersystem:0.1.0 .

# OpenSSL, librdkafka and jemalloc are built from source; the C compiler, make and perl for that are in this image.
FROM rust:1-bookworm AS build
# The base below has no zlib, so it is linked in.
ENV LIBZ_SYS_STATIC=1
WORKDIR /src
COPY . .
# The caches are not part of the image, so the binary is copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package ordersystem \
    && cp target/release/ordersystem /ordersystem

# glibc and libgcc of the same Debian, the public certificate authorities, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ordersystem" \
      org.opencontainers.image.description="An event-driven order system that can prove its books balance" \
      org.opencontainers.image.licenses="GPL-3.0-only" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /ordersystem /ordersystem
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/ordersystem"]
